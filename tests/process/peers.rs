//! `-peers` and `-force`: clusters as etcd 0.2 made them.

use crate::cluster::{Cluster, Node, eventually, get_eventually, put_eventually};

fn flags(node: &Node, more: &str) -> Vec<String> {
    let mut flags = vec![
        format!("-data-dir={}", node.data_dir.display()),
        format!("-name=machine-{}", node.name),
        format!("-addr=127.0.0.1:{}", node.client_port),
        format!("-peer-addr=127.0.0.1:{}", node.peer_port),
        "-retry-interval=1".to_owned(),
    ];
    flags.extend(more.split_whitespace().map(str::to_owned));
    flags
}

fn start(cluster: &mut Cluster, i: usize, more: &str) {
    let flags = flags(&cluster.nodes[i], more);
    cluster.nodes[i].spawn(&flags);
}

#[tokio::test]
async fn members_are_admitted_by_a_peer_and_come_back_without_one() {
    let mut cluster = Cluster::new(3, &[]);
    start(&mut cluster, 0, "");
    cluster.nodes[0].wait_healthy().await;
    put_eventually(&cluster.nodes[0], "before", "1").await;
    let first = format!("127.0.0.1:{}", cluster.nodes[0].peer_port);
    let nobody = crate::cluster::free_port();
    let others = format!("127.0.0.1:{nobody},{first}");
    start(&mut cluster, 1, &format!("-peers {first}"));
    cluster.nodes[1].wait_healthy().await;
    start(&mut cluster, 2, &format!("-peers {others}"));
    cluster.nodes[2].wait_healthy().await;
    for node in &cluster.nodes {
        assert_eq!(get_eventually(node, "before").await.as_deref(), Some("1"));
    }
    eventually("three members that have told their names", || async {
        let (_, page) = crate::cluster::http_get(cluster.nodes[0].peer_port, "/members").await?;
        (page.matches("\"name\":\"machine-n").count() == 3).then_some(())
    })
    .await;

    cluster.nodes[2].kill();
    put_eventually(&cluster.nodes[1], "xyz", "ABC").await;
    start(&mut cluster, 2, &format!("-peers {first} -force"));
    assert_eq!(cluster.nodes[2].wait().await.code(), Some(1));
    let log = cluster.nodes[2].log();
    assert!(
        log.contains("CRITICAL  | data-dir ") && log.contains("cannot join anew"),
        "{log}"
    );
    start(&mut cluster, 2, "");
    cluster.nodes[2].wait_healthy().await;
    assert_eq!(
        get_eventually(&cluster.nodes[2], "xyz").await.as_deref(),
        Some("ABC")
    );
}

#[tokio::test]
async fn a_member_that_no_peer_admits_ends() {
    let mut cluster = Cluster::new(1, &[]);
    let nobody = crate::cluster::free_port();
    start(&mut cluster, 0, &format!("-peers 127.0.0.1:{nobody}"));
    assert_eq!(cluster.nodes[0].wait().await.code(), Some(1));
    let log = cluster.nodes[0].log();
    let retry = "WARNING   | cannot join to cluster via given peers, retry in 1 seconds";
    assert_eq!(log.matches(retry).count(), 3, "{log}");
    let end = "CRITICAL  | Cannot join the cluster via given peers after 3 retries";
    assert!(log.lines().last().unwrap().ends_with(end), "{log}");
}

#[tokio::test]
async fn force_lets_new_addresses_win() {
    let mut cluster = Cluster::new(2, &[]);
    start(&mut cluster, 0, "");
    cluster.nodes[0].wait_healthy().await;
    put_eventually(&cluster.nodes[0], "a", "1").await;
    assert!(cluster.nodes[0].stop().await.0.success());
    // The second node lends its port.
    let port = cluster.nodes[1].peer_port;
    start(&mut cluster, 0, &format!("-f -peer-addr 127.0.0.1:{port}"));
    cluster.nodes[0].wait_healthy().await;
    eventually("the new peer URL", || async {
        let (_, page) = crate::cluster::http_get(port, "/members").await?;
        page.contains(&format!("[\"http://127.0.0.1:{port}\"]"))
            .then_some(())
    })
    .await;
    assert_eq!(
        get_eventually(&cluster.nodes[0], "a").await.as_deref(),
        Some("1")
    );
}
