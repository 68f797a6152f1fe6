//! Clients of v2 that wait: what one costs a member, and that it is gone when its client is.

use crate::cluster::{Cluster, Node, eventually, http_call};
use crate::crowd::raise_open_files;
use crate::disaster::number;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// More with `DETCD_TEST_LONG_POLLS`.
const POLLS: usize = 1_000;
/// What one may cost of the member's memory, with its connection.
const BYTES_MAX: u64 = 64 * 1024;

/// A client that waits; it has the head of its reply.
async fn poll(node: &Node, key: &str) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", node.client_port)).await;
    let mut stream = stream.expect("a connection");
    let request = format!("GET /v2/keys/{key}?wait=true HTTP/1.1\r\nHost: x\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a request");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut head).await.expect("a head"), 0);
    }
    assert!(
        head.starts_with(b"HTTP/1.1 200 OK"),
        "{}",
        head.escape_ascii()
    );
    stream
}

async fn wait_for_watchers(node: &Node, count: usize) {
    eventually(&format!("{count} watchers"), || async {
        let (_, page) = node.get("/v2/stats/store").await?;
        page.contains(&format!("\"watchers\":{count}}}"))
            .then_some(())
    })
    .await;
}

/// The value of a series of the metrics page.
async fn metric(node: &Node, name: &str) -> u64 {
    let (_, page) = node.get("/metrics").await.expect("the metrics");
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    let value: f64 = line.expect("a series").trim().parse().expect("a number");
    value as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_costs_little_and_goes_with_its_client() {
    raise_open_files();
    let cluster = Cluster::started(1, &[]).await;
    let node = &cluster.nodes[0];
    let count = number("DETCD_TEST_LONG_POLLS", POLLS);
    let memory = || metric(node, "process_resident_memory_bytes ");
    drop(poll(node, "first").await);
    wait_for_watchers(node, 0).await;
    let before = memory().await;
    let mut polls = Vec::new();
    for i in 0..count {
        polls.push(poll(node, if i % 2 == 0 { "even" } else { "odd" }).await);
    }
    wait_for_watchers(node, count).await;
    let each = memory().await.saturating_sub(before) / count as u64;
    eprintln!("{count} long polls: {each} bytes each");
    assert!(
        each < BYTES_MAX,
        "{each} bytes for each of {count} long polls"
    );

    // Who goes away is no watcher any more; the others go on.
    let mut stay = Vec::new();
    for (i, poll) in polls.into_iter().enumerate() {
        if i % 4 == 0 {
            stay.push(poll);
        }
    }
    wait_for_watchers(node, stay.len()).await;
    let put = http_call(node.client_port, "PUT", "/v2/keys/even", "value=1").await;
    assert_eq!(put.expect("a reply").0, 201);
    for poll in &mut stay {
        let mut body = Vec::new();
        while !body.ends_with(b"0\r\n\r\n") {
            assert_ne!(poll.read_buf(&mut body).await.expect("an event"), 0);
        }
        let event = b"{\"action\":\"set\",\"node\":{\"key\":\"/even\"";
        assert!(
            body.windows(event.len()).any(|it| it == event),
            "{}",
            body.escape_ascii()
        );
    }
    wait_for_watchers(node, 0).await;
}
