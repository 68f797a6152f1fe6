//! What is left of a cluster that has lost its quorum knows that it has no leader, and says so.

use crate::cluster::{Cluster, Node, PATIENCE, eventually, put_eventually};
use crate::members::{FAST, ctl, leader};
use detcd_wire::etcdserverpb as pb;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};

/// A watch that wants a leader, once it exists, and the end of the stream that keeps it open.
async fn watch(
    node: &Node,
) -> (
    Streaming<pb::WatchResponse>,
    tokio::sync::mpsc::Sender<pb::WatchRequest>,
) {
    let (requests, receiver) = tokio::sync::mpsc::channel(1);
    let create = pb::WatchCreateRequest {
        key: "a".into(),
        ..Default::default()
    };
    let create = pb::WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    requests.send(create).await.expect("it has room");
    let mut request = Request::new(ReceiverStream::new(receiver));
    let wanted = "true".parse().expect("ASCII");
    request.metadata_mut().insert("hasleader", wanted);
    let responses = WatchClient::new(node.channel()).watch(request).await;
    let mut responses = responses.expect("a stream").into_inner();
    let first = responses.message().await.expect("no error");
    assert!(first.expect("a response").created);
    (responses, requests)
}

/// How a stream ends on which nothing happens.
async fn end(mut responses: Streaming<pb::WatchResponse>) -> Status {
    let end = tokio::time::timeout(PATIENCE, responses.message()).await;
    end.expect("an end in time").expect_err("an error ends it")
}

/// What a gauge shows on the page `/metrics`.
async fn gauge(node: &Node, name: &str) -> Option<String> {
    let (_, page) = node.get("/metrics").await?;
    let line = page.lines().find(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(' '))
    })?;
    Some(line.rsplit(' ').next()?.to_owned())
}

async fn gauge_becomes(node: &Node, name: &str, value: &str) {
    eventually(&format!("{name} {value} of {}", node.name), || async {
        (gauge(node, name).await? == value).then_some(())
    })
    .await;
}

/// The member at this position outlives the others, and then they come back.
async fn outlives(mut cluster: Cluster, survivor: usize) {
    let others = [(survivor + 1) % 3, (survivor + 2) % 3];
    let (responses, _requests) = watch(&cluster.nodes[survivor]).await;
    others.iter().for_each(|i| cluster.nodes[*i].kill());
    let status = end(responses).await;
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "etcdserver: no leader")
    );
    let node = &cluster.nodes[survivor];
    let (code, body) = node.get("/health").await.unwrap();
    assert_eq!(code, 503);
    assert!(body.contains("RAFT NO LEADER"), "{body}");
    gauge_becomes(node, "etcd_server_has_leader", "0").await;
    gauge_becomes(node, "etcd_server_is_leader", "0").await;
    let status = node.status().await.unwrap();
    assert_eq!(status.leader, 0);
    assert_eq!(status.errors, ["etcdserver: no leader"]);

    others.iter().for_each(|i| cluster.restart(*i));
    let node = &cluster.nodes[survivor];
    put_eventually(node, "a", "1").await;
    gauge_becomes(node, "etcd_server_has_leader", "1").await;
    node.wait_healthy().await;
}

/// A follower went by its last leader for good.
#[tokio::test]
async fn a_follower_that_is_left_alone_says_so() {
    let cluster = Cluster::started(3, FAST).await;
    let lead = leader(&cluster, &[0, 1, 2]).await;
    outlives(cluster, (lead + 1) % 3).await;
}

/// A leader stays one to raft, until it hears of another.
#[tokio::test]
async fn a_leader_that_is_left_alone_says_so() {
    let cluster = Cluster::started(3, FAST).await;
    let lead = leader(&cluster, &[0, 1, 2]).await;
    outlives(cluster, lead).await;
}

/// It waited for a read index that nobody confirmed, as long as a request may take.
#[tokio::test]
async fn a_leader_that_is_left_alone_refuses_new_members_at_once() {
    let mut cluster = Cluster::started(3, FAST).await;
    let lead = leader(&cluster, &[0, 1, 2]).await;
    for i in [(lead + 1) % 3, (lead + 2) % 3] {
        cluster.nodes[i].kill();
    }
    let node = &cluster.nodes[lead];
    gauge_becomes(node, "etcd_server_has_leader", "0").await;
    // Less than a request may take: the leader does not wait.
    let add = [
        "--command-timeout=3s",
        "member",
        "add",
        "n4",
        "--peer-urls=http://127.0.0.1:9",
    ];
    let refused = ctl(node, &add);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("etcdserver: unhealthy cluster"), "{said}");
}
