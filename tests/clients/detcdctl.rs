//! detcdctl when members go: it turns to the next endpoint, and a watch goes on where it was.

use crate::cluster::{Cluster, WAIT_MAX, put_eventually};
use detcd_wire::etcdserverpb as pb;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

fn detcdctl(cluster: &Cluster, line: &str) -> Command {
    let endpoints: Vec<String> = cluster.nodes.iter().map(|node| node.client_url()).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_detcdctl"));
    command
        .env("ETCDCTL_ENDPOINTS", endpoints.join(","))
        .env(
            "ETCDCTL_COMMAND_TIMEOUT",
            format!("{}s", WAIT_MAX.as_secs()),
        )
        .args(line.split(' '))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn says(cluster: &Cluster, line: &str, expected: &str) {
    let output = detcdctl(cluster, line)
        .output()
        .await
        .expect("detcdctl starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        said,
        expected,
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn commands_turn_to_the_next_endpoint() {
    let mut cluster = Cluster::started(3, &[]).await;
    says(&cluster, "put k 1", "OK\n").await;
    cluster.nodes[0].kill();
    put_eventually(&cluster.nodes[1], "k", "2").await;
    says(&cluster, "get k", "k\n2\n").await;
    says(&cluster, "put k 3", "OK\n").await;
    let output = detcdctl(&cluster, "--command-timeout=3s endpoint health");
    let output = { output }
        .env_remove("ETCDCTL_COMMAND_TIMEOUT")
        .output()
        .await;
    let output = output.expect("detcdctl starts");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(out.matches("is healthy").count(), 2, "{out}{err}");
    let dead = cluster.nodes[0].client_url();
    let expected = format!(
        "{dead} is unhealthy: failed to commit proposal: context deadline exceeded\n\
         Error: unhealthy cluster\n"
    );
    assert_eq!((&err[..], output.status.code()), (&expected[..], Some(1)));
}

/// No change is missing and none comes twice, though the member that told them is killed.
#[tokio::test]
async fn a_watch_goes_on_at_the_next_endpoint() {
    let mut cluster = Cluster::started(3, &[]).await;
    says(&cluster, "put k 0", "OK\n").await;
    let mut watching = detcdctl(&cluster, "watch k --rev=2")
        .spawn()
        .expect("detcdctl starts");
    let mut lines = BufReader::new(watching.stdout.take().expect("a pipe")).lines();
    let mut told = async || {
        let mut change = Vec::new();
        while change.len() < 3 {
            let line = tokio::time::timeout(WAIT_MAX, lines.next_line()).await;
            let line = line.expect("a change in time").expect("text");
            change.push(line.expect("the watch goes on"));
        }
        change
    };
    assert_eq!(told().await, ["PUT", "k", "0"]);
    // The first endpoint is the one that a command turns to first.
    cluster.nodes[0].kill();
    for value in ["1", "2", "3"] {
        put_eventually(&cluster.nodes[2], "k", value).await;
    }
    // A put that was answered with a failure may have been carried out all the same, so there may
    // be more than three; the key's version counts them.
    let request = pb::RangeRequest {
        key: "k".into(),
        ..Default::default()
    };
    let response = cluster.nodes[2]
        .kv()
        .range(request)
        .await
        .expect("two members serve");
    let version = response.into_inner().kvs[0].version;
    let mut values = vec!["0".to_owned()];
    for _ in 1..version {
        values.push(told().await.swap_remove(2));
    }
    assert!(values.is_sorted(), "{values:?}");
    assert_eq!(values.last().map(String::as_str), Some("3"), "{values:?}");
    values.dedup();
    assert_eq!(values, ["0", "1", "2", "3"]);
}

/// However long it goes on, a lease is kept alive on one stream.
#[tokio::test]
async fn a_lease_is_kept_alive_on_one_stream() {
    let cluster = Cluster::started(1, &[]).await;
    let granted = detcdctl(&cluster, "lease grant 2").output().await;
    let granted = String::from_utf8(granted.expect("detcdctl starts").stdout).expect("text");
    let id = granted.split(' ').nth(1).expect("an id");
    let line = format!("lease keep-alive {id}");
    let mut keeping = detcdctl(&cluster, &line).spawn().expect("detcdctl starts");
    let mut lines = BufReader::new(keeping.stdout.take().expect("a pipe")).lines();
    for _ in 0..3 {
        let line = tokio::time::timeout(WAIT_MAX, lines.next_line()).await;
        let line = line.expect("a renewal in time").expect("text");
        assert_eq!(line, Some(format!("lease {id} keepalived with TTL(2)")));
    }
    let (_, page) = cluster.nodes[0].get("/metrics").await.expect("the page");
    let started = page
        .lines()
        .find(|line| {
            line.starts_with("grpc_server_started_total{") && line.contains("\"LeaseKeepAlive\"")
        })
        .expect("streams are counted");
    assert!(started.ends_with("} 1"), "{started}");
}

#[tokio::test]
async fn a_domain_without_srv_records_is_told() {
    let cluster = Cluster::new(1, &[]);
    let mut command = detcdctl(&cluster, "--discovery-srv example.invalid get k");
    // Nobody answers there.
    let output = command.env("DETCDCTL_DNS_SERVER", "127.0.0.1:1").output();
    let output = output.await.expect("detcdctl starts");
    let err = String::from_utf8_lossy(&output.stderr);
    let asked = "Error: dns lookup errors: lookup _etcd-client-ssl._tcp.example.invalid: ";
    assert!(err.starts_with(asked), "{err}");
    assert_eq!(output.status.code(), Some(1));
}
