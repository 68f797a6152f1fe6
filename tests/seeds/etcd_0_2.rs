//! The article of December 2013 from its first line to its last (rows 22 to 37): one machine, three
//! that are called alike, and three that are a cluster. Ports are other ones, as the machine is shared.

use crate::cluster::{Cluster, Node, eventually, http_call};

const FAST: &str = "-v2-compat=0.2 -retry-interval=1 -heartbeat-interval=50 -election-timeout=500";

fn start(node: &mut Node, name: &str, more: &str) {
    let line = format!(
        "-data-dir {} -name {name} -addr 127.0.0.1:{} -peer-addr 127.0.0.1:{} {FAST} {more}",
        node.data_dir.display(),
        node.client_port,
        node.peer_port
    );
    let flags: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    node.spawn(&flags);
}

fn peer(node: &Node) -> String {
    format!("127.0.0.1:{}", node.peer_port)
}

/// `curl -L http://ADDR/v2/keys/KEY -X METHOD -d FORM`.
async fn curl(node: &Node, method: &str, key: &str, form: &str) -> Option<(u16, String)> {
    http_call(node.client_port, method, &format!("/v2/keys/{key}"), form).await
}

async fn shows(node: &Node, (method, key, form): (&str, &str, &str), expected: (u16, &str)) {
    let seen = curl(node, method, key, form).await.expect("a reply");
    assert_eq!((seen.0, &seen.1[..]), expected, "{method} {key} {form}");
}

/// The same, once it does: members learn of each other's writes a moment later.
async fn comes_to_show(node: &Node, key: &str, expected: &str) {
    eventually(&format!("{expected} from {}", node.name), || async {
        let (_, body) = curl(node, "GET", key, "").await?;
        (body == expected).then_some(())
    })
    .await;
}

fn machine(node: &Node, name: &str, index: u64) -> String {
    format!(
        "{{\"key\":\"/_etcd/machines/{name}\",\"value\":\"raft=http://{}&etcd={}\",\
         \"modifiedIndex\":{index},\"createdIndex\":{index}}}",
        peer(node),
        node.client_url()
    )
}

fn machines(rows: &[String]) -> String {
    format!(
        "{{\"action\":\"get\",\"node\":{{\"key\":\"/_etcd/machines\",\"dir\":true,\"nodes\":[{}],\
         \"modifiedIndex\":1,\"createdIndex\":1}}}}",
        rows.join(",")
    )
}

/// Rows 22 to 29.
#[tokio::test]
async fn one_machine_answers_as_etcd_0_2_did() {
    let mut cluster = Cluster::new(1, &[]);
    let node = &mut cluster.nodes[0];
    start(node, "machine1", "");
    let listed = machines(&[machine(node, "machine1", 1)]);
    comes_to_show(node, "_etcd/machines", &listed).await;
    let value1 = "\"node\":{\"key\":\"/key1\",\"value\":\"value1\",\"modifiedIndex\":2,\
                  \"createdIndex\":2}}";
    let set = format!("{{\"action\":\"set\",{value1}");
    shows(node, ("PUT", "key1", "value=value1"), (201, &set)).await;
    let got = format!("{{\"action\":\"get\",{value1}");
    shows(node, ("GET", "key1", ""), (200, &got)).await;
    let set = "{\"action\":\"set\",\"node\":{\"key\":\"/key1\",\"prevValue\":\"value1\",\
               \"value\":\"new value\",\"modifiedIndex\":3,\"createdIndex\":3}}";
    shows(node, ("PUT", "key1", "value=new value"), (200, set)).await;
    let deleted = "{\"action\":\"delete\",\"node\":{\"key\":\"/key1\",\"prevValue\":\"new value\",\
                   \"modifiedIndex\":4,\"createdIndex\":3}}";
    shows(node, ("DELETE", "key1", ""), (200, deleted)).await;
    let missing =
        "{\"errorCode\":100,\"message\":\"Key Not Found\",\"cause\":\"/key1\",\"index\":4}\n";
    shows(node, ("GET", "key1", ""), (404, missing)).await;

    // It starts alone again, and its own row is not written anew.
    node.stop().await;
    start(node, "machine1", "");
    node.wait_healthy().await;
    let urls = format!("INFO      | URLs: / machine1 (http://{})", peer(node));
    node.wait_for_log(&urls).await;
    let down = "WARNING   | the entire cluster is down! this peer will restart the cluster.";
    node.wait_for_log(down).await;
    shows(node, ("GET", "key1", ""), (404, missing)).await;
    shows(node, ("GET", "_etcd/machines", ""), (200, &listed)).await;
}

/// Row 34: three that are called alike know nothing of each other.
#[tokio::test]
async fn three_machines_of_one_name_are_three_clusters() {
    let mut cluster = Cluster::new(3, &[]);
    for node in &mut cluster.nodes {
        start(node, "machine1", "");
    }
    for node in &cluster.nodes {
        let listed = machines(&[machine(node, "machine1", 1)]);
        comes_to_show(node, "_etcd/machines", &listed).await;
    }
    curl(&cluster.nodes[0], "PUT", "key1", "value=value1")
        .await
        .expect("a reply");
    for node in &cluster.nodes[1..] {
        let missing =
            "{\"errorCode\":100,\"message\":\"Key Not Found\",\"cause\":\"/key1\",\"index\":1}\n";
        shows(node, ("GET", "key1", ""), (404, missing)).await;
    }
    // With another name the data-dir keeps who it is.
    let node = &mut cluster.nodes[1];
    curl(node, "PUT", "key2", "value=value2")
        .await
        .expect("a reply");
    node.stop().await;
    start(node, "machine2", "");
    node.wait_healthy().await;
    let kept = "{\"action\":\"get\",\"node\":{\"key\":\"/key2\",\"value\":\"value2\",\
                \"modifiedIndex\":2,\"createdIndex\":2}}";
    comes_to_show(node, "key2", kept).await;
    let renamed = machines(&[machine(node, "machine1", 1), machine(node, "machine2", 3)]);
    comes_to_show(node, "_etcd/machines", &renamed).await;
}

/// Rows 29, 32, 33 and 35 to 37.
#[tokio::test]
async fn three_machines_count_and_come_back_as_in_etcd_0_2() {
    let mut cluster = Cluster::new(3, &[]);
    start(&mut cluster.nodes[0], "machine1", "");
    let own = machines(&[machine(&cluster.nodes[0], "machine1", 1)]);
    comes_to_show(&cluster.nodes[0], "_etcd/machines", &own).await;
    for value in ["value=1", "value=2"] {
        curl(&cluster.nodes[0], "PUT", "key1", value)
            .await
            .expect("a reply");
    }
    // Who joins takes an index: 4 and 5.
    let first = peer(&cluster.nodes[0]);
    let mut rows = vec![machine(&cluster.nodes[0], "machine1", 1)];
    for i in [1, 2] {
        let name = format!("machine{}", i + 1);
        start(&mut cluster.nodes[i], &name, &format!("-peers {first}"));
        rows.push(machine(&cluster.nodes[i], &name, i as u64 + 3));
        comes_to_show(&cluster.nodes[i], "_etcd/machines", &machines(&rows)).await;
    }
    for node in &cluster.nodes {
        comes_to_show(node, "_etcd/machines", &machines(&rows)).await;
    }
    curl(&cluster.nodes[1], "PUT", "key1", "value=3")
        .await
        .expect("a reply");
    let six = "{\"action\":\"get\",\"node\":{\"key\":\"/key1\",\"value\":\"3\",\"modifiedIndex\":6,\
               \"createdIndex\":6}}";
    for node in &cluster.nodes {
        comes_to_show(node, "key1", six).await;
    }
    let seven = "{\"action\":\"delete\",\"node\":{\"key\":\"/key1\",\"prevValue\":\"3\",\
                 \"modifiedIndex\":7,\"createdIndex\":6}}";
    shows(&cluster.nodes[2], ("DELETE", "key1", ""), (200, seven)).await;

    // The third is down, and the others go on.
    cluster.nodes[2].kill();
    assert_eq!(curl(&cluster.nodes[2], "GET", "key1", "").await, None);
    for (key, form) in [("a", "value=1"), ("b", "value=2"), ("xyz", "value=ABC")] {
        eventually(key, || async {
            let (status, _) = curl(&cluster.nodes[1], "PUT", key, form).await?;
            (status == 201).then_some(())
        })
        .await;
    }
    // It comes back without a word about the others.
    start(&mut cluster.nodes[2], "machine3", "");
    let xyz = "{\"action\":\"get\",\"node\":{\"key\":\"/xyz\",\"value\":\"ABC\",\"modifiedIndex\":10,\
               \"createdIndex\":10}}";
    comes_to_show(&cluster.nodes[2], "xyz", xyz).await;

    // Two are down: the one that is left reads, and cannot write.
    cluster.nodes[0].kill();
    cluster.nodes[1].kill();
    shows(&cluster.nodes[2], ("GET", "xyz", ""), (200, xyz)).await;
    let stuck = (500, "raft: Command timeout\n");
    shows(&cluster.nodes[2], ("PUT", "key1", "value=4"), stuck).await;

    // All were down: the first one that comes back says so.
    cluster.nodes[2].kill();
    start(&mut cluster.nodes[0], "machine1", "");
    let peers: Vec<String> = cluster.nodes.iter().map(|it| it.peer_url()).collect();
    let urls = format!("INFO      | URLs: / machine1 ({})", peers.join(","));
    cluster.nodes[0].wait_for_log(&urls).await;
    let down = "WARNING   | the entire cluster is down! this peer will restart the cluster.";
    cluster.nodes[0].wait_for_log(down).await;
    start(&mut cluster.nodes[1], "machine2", "");
    comes_to_show(&cluster.nodes[1], "xyz", xyz).await;
    cluster.nodes[0].wait_healthy().await;
    let written = eventually("a write", || async {
        let (status, body) = curl(&cluster.nodes[0], "PUT", "z", "value=1").await?;
        (status == 201).then_some(body)
    })
    .await;
    assert!(written.contains("\"key\":\"/z\""), "{written}");
}
