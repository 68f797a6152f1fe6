//! The v2 keys on a cluster of processes: every member serves them, whatever becomes of the others.

use crate::cluster::{Cluster, Node, eventually};
use crate::members::{FAST, leader};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What a request is given.
const ANSWER_MAX: Duration = Duration::from_secs(40);

/// Status and body of a request below `/v2/keys`; a form is the body.
async fn ask(node: &Node, method: &str, path: &str, form: &str) -> Option<(u16, String)> {
    let exchange = async {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", node.client_port)).await;
        let mut stream = stream.ok()?;
        let length = form.len();
        let request = format!(
            "{method} /v2/keys{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.ok()?;
        let (head, body) = reply.split_once("\r\n\r\n")?;
        let status = head.split_whitespace().nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    };
    let reply = tokio::time::timeout(ANSWER_MAX, exchange).await;
    reply.ok().flatten()
}

/// Asks until the reply has this status; an election may be under way.
async fn ask_until(status: u16, node: &Node, method: &str, path: &str, form: &str) -> String {
    eventually(&format!("{method} {path} with {status}"), || async {
        let (got, body) = ask(node, method, path, form).await?;
        (got == status).then_some(body)
    })
    .await
}

#[tokio::test]
async fn v2_keys_are_on_every_member_and_survive_the_others() {
    let mut cluster = Cluster::started(3, FAST).await;
    ask_until(201, &cluster.nodes[0], "PUT", "/a", "value=1").await;
    for node in &cluster.nodes {
        let body = ask_until(200, node, "GET", "/a?quorum=true", "").await;
        assert!(
            body.contains("\"value\":\"1\",\"modifiedIndex\":8,"),
            "{body}"
        );
    }
    // History and index are what they were, also on a member that comes back.
    let set = ask_until(
        200,
        &cluster.nodes[1],
        "GET",
        "/a?wait=true&waitIndex=2",
        "",
    )
    .await;
    cluster.nodes[0].kill();
    cluster.restart(0);
    cluster.nodes[0].wait_healthy().await;
    let again = ask_until(
        200,
        &cluster.nodes[0],
        "GET",
        "/a?wait=true&waitIndex=2",
        "",
    )
    .await;
    assert_eq!(set, again);
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let survivor = &cluster.nodes[0];
    let local = ask_until(200, survivor, "GET", "/a", "").await;
    assert!(local.contains("\"value\":\"1\""), "{local}");
    let refused = ask_until(500, survivor, "GET", "/a?quorum=true", "").await;
    assert!(
        refused.contains("\"errorCode\":300,\"message\":\"Raft Internal Error\""),
        "{refused}"
    );
    assert!(
        refused.contains("etcdserver: request timed out"),
        "{refused}"
    );
}

#[tokio::test]
async fn v2_nodes_live_their_time_whoever_leads() {
    let mut cluster = Cluster::started(3, FAST).await;
    let begun = Instant::now();
    ask_until(201, &cluster.nodes[0], "PUT", "/ttl", "value=1&ttl=3").await;
    let first = leader(&cluster, &[0, 1, 2]).await;
    cluster.nodes[first].kill();
    let other = &cluster.nodes[(first + 1) % 3];
    let gone = ask_until(200, other, "GET", "/ttl?wait=true&waitIndex=9", "").await;
    assert!(
        gone.contains("{\"action\":\"expire\",\"node\":{\"key\":\"/ttl\","),
        "{gone}"
    );
    assert!(
        begun.elapsed() >= Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    ask_until(404, other, "GET", "/ttl?quorum=true", "").await;
}
