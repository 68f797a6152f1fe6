//! What is left of a cluster that has lost its quorum knows that it has no leader, and says so.

use crate::cluster::{Cluster, Node, WAIT_MAX, eventually, put_eventually};
use crate::errors::{self, Call, call};
use crate::members::{FAST, ctl, leader};
use detcd_service::method::WithoutLeader;
use detcd_service::{METHODS, Method, Rpc};
use detcd_wire::etcdserverpb as pb;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use std::time::Duration;
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
    let end = tokio::time::timeout(WAIT_MAX, responses.message()).await;
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

/// A call of the method that etcd does not refuse for what it asks; `serializable` if it can be.
fn call_of(method: &Method, serializable: bool) -> Call {
    let range = pb::RangeRequest {
        key: "a".into(),
        serializable,
        ..Default::default()
    };
    let put = pb::PutRequest {
        key: "a".into(),
        ..Default::default()
    };
    let peer_urls = vec!["http://127.0.0.1:9".to_owned()];
    let path = method.path;
    match method.rpc {
        Rpc::Put => call(path, put),
        Rpc::Range => call(path, range),
        Rpc::Txn => {
            let asked = pb::request_op::Request::RequestRange(range);
            let request = Some(asked);
            let success = vec![pb::RequestOp { request }];
            let txn = pb::TxnRequest {
                success,
                ..Default::default()
            };
            call(path, txn)
        }
        Rpc::DeleteRange => {
            let delete = pb::DeleteRangeRequest {
                key: "a".into(),
                ..Default::default()
            };
            call(path, delete)
        }
        Rpc::LeaseGrant => call(path, pb::LeaseGrantRequest { ttl: 60, id: 7 }),
        Rpc::MemberList => {
            let linearizable = !serializable;
            call(path, pb::MemberListRequest { linearizable })
        }
        Rpc::MemberAdd => {
            let is_learner = true;
            let request = pb::MemberAddRequest {
                peer_urls,
                is_learner,
            };
            call(path, request)
        }
        Rpc::MemberUpdate => call(path, pb::MemberUpdateRequest { id: 7, peer_urls }),
        // All fields at their defaults make sense to the others.
        _ => call(path, pb::StatusRequest {}),
    }
}

/// Whether the member answers within a second, and not with an error.
async fn serves(node: &Node, method: &Method, serializable: bool) -> bool {
    let (call, channel) = (call_of(method, serializable), node.channel());
    let answered = errors::send(&channel, &call);
    let answered = tokio::time::timeout(Duration::from_secs(1), answered).await;
    // What is not supported yet is answered by whoever is asked.
    let is_answer = |code| matches!(code, Code::Ok | Code::Unimplemented);
    answered.is_ok_and(|status| is_answer(status.code()))
}

#[tokio::test]
async fn the_table_of_methods_is_right_about_members_without_a_leader() {
    let mut cluster = Cluster::started(3, FAST).await;
    put_eventually(&cluster.nodes[0], "a", "1").await;
    [1, 2].iter().for_each(|i| cluster.nodes[*i].kill());
    let node = &cluster.nodes[0];
    gauge_becomes(node, "etcd_server_has_leader", "0").await;
    // A downgrade is not supported yet, whoever leads.
    let is_asked = |method: &&Method| !method.streams() && method.rpc != Rpc::Downgrade;
    let unary = METHODS.iter().filter(is_asked);
    let served = unary.map(|method| async move {
        let served = tokio::join!(serves(node, method, true), serves(node, method, false));
        let expected = match method.without_leader {
            WithoutLeader::Serves => (true, true),
            WithoutLeader::ServesSerializable => (true, false),
            WithoutLeader::Fails => (false, false),
        };
        (method.path, served, expected)
    });
    for (path, served, expected) in futures::future::join_all(served).await {
        assert_eq!(served, expected, "{path}: serializable, linearizable");
    }
}

/// The member at this position outlives the others, and is asked to add one.
async fn refuses_new_members_at_once(mut cluster: Cluster, survivor: usize) {
    for i in [(survivor + 1) % 3, (survivor + 2) % 3] {
        cluster.nodes[i].kill();
    }
    let node = &cluster.nodes[survivor];
    gauge_becomes(node, "etcd_server_has_leader", "0").await;
    // Less than a request may take: the member does not wait.
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

/// It waited for a read index that nobody confirmed, as long as a request may take.
#[tokio::test]
async fn a_leader_that_is_left_alone_refuses_new_members_at_once() {
    let cluster = Cluster::started(3, FAST).await;
    let lead = leader(&cluster, &[0, 1, 2]).await;
    refuses_new_members_at_once(cluster, lead).await;
}

/// It waited for a leader, as long as a request may take.
#[tokio::test]
async fn a_follower_that_is_left_alone_refuses_new_members_at_once() {
    let cluster = Cluster::started(3, FAST).await;
    let lead = leader(&cluster, &[0, 1, 2]).await;
    refuses_new_members_at_once(cluster, (lead + 1) % 3).await;
}
