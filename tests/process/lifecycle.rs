//! Starting, stopping, killing and catching up.

use crate::cluster::{
    Cluster, STOP_MAX, WAIT_MAX, eventually, get, get_eventually, http_get, put, put_eventually,
    read,
};
use detcd_wire::etcdserverpb as pb;
use rustix::process::Signal;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tonic::Code;

#[tokio::test]
async fn one_member_serves_and_stops_on_sigterm() {
    let mut cluster = Cluster::started(1, &[]).await;
    let mut kv = cluster.nodes[0].kv();
    assert_eq!(put(&mut kv, "a", "1").await.unwrap(), 2);
    assert_eq!(get(&mut kv, "a").await.unwrap().as_deref(), Some("1"));
    cluster.nodes[0]
        .wait_for_log("ready to serve client requests")
        .await;
    let (status, took) = cluster.nodes[0].stop().await;
    assert!(status.success(), "{status}");
    assert!(took < STOP_MAX, "stopping took {took:?}");
}

/// Signals count while the member still asks around who it is.
#[tokio::test]
async fn a_member_that_is_starting_stops_on_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut cluster = Cluster::new(2, &[]);
        let address = ("127.0.0.1", cluster.nodes[0].peer_port);
        let silent = tokio::net::TcpListener::bind(address).await.unwrap();
        cluster.join(1);
        let asked = timeout(WAIT_MAX, silent.accept()).await;
        let _connection = asked.expect("it asks").expect("a connection");
        let signalled = Instant::now();
        cluster.nodes[1].signal(signal);
        let status = cluster.nodes[1].wait().await;
        assert!(status.success(), "{status}");
        // It would wait for its answer for three seconds.
        let took = signalled.elapsed();
        assert!(took < Duration::from_secs(2), "stopping took {took:?}");
    }
}

#[tokio::test]
async fn open_streams_end_when_the_member_stops() {
    let mut cluster = Cluster::started(1, &[]).await;
    let mut client = pb::watch_client::WatchClient::new(cluster.nodes[0].channel());
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let create = pb::WatchRequest {
        request_union: Some(pb::watch_request::RequestUnion::CreateRequest(
            pb::WatchCreateRequest {
                key: "a".into(),
                ..Default::default()
            },
        )),
    };
    sender.send(create).await.unwrap();
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut stream = client.watch(requests).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().unwrap().created);
    let (status, took) = cluster.nodes[0].stop().await;
    assert!(status.success(), "{status}");
    assert!(took < STOP_MAX, "stopping took {took:?}");
    let end = timeout(WAIT_MAX, stream.message())
        .await
        .expect("the stream ends");
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
}

#[tokio::test]
async fn members_start_in_any_order() {
    let mut cluster = Cluster::new(3, &[]);
    cluster.start(2);
    // Alone, a member answers and says that it cannot serve.
    let first = &cluster.nodes[2];
    let (status, body) = eventually("an answer", || first.get("/health")).await;
    assert_eq!(
        (status, body.contains("RAFT NO LEADER")),
        (503, true),
        "{body}"
    );
    // Whoever asks it about its cluster is told by whom it was founded.
    let (status, page) = http_get(first.peer_port, "/members").await.unwrap();
    let rows: serde_json::Value = serde_json::from_str(&page).expect("rows");
    assert_eq!((status, rows.as_array().map(Vec::len)), (200, Some(3)));
    let mut members = pb::cluster_client::ClusterClient::new(first.channel());
    let request = pb::MemberListRequest {
        linearizable: false,
    };
    let listed = members.member_list(request).await.unwrap().into_inner();
    assert_eq!(listed.members.len(), 3, "{listed:?}");
    let mut kv = cluster.nodes[2].kv();
    assert_eq!(
        read(&mut kv, "a", true).await.unwrap(),
        None,
        "its own state it can show"
    );
    let refused = put(&mut kv, "a", "too early").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    cluster.start(0);
    cluster.nodes[0].wait_healthy().await;
    put_eventually(&cluster.nodes[2], "a", "two of three").await;
    cluster.start(1);
    cluster.wait_healthy().await;
    for node in &cluster.nodes {
        assert_eq!(
            get_eventually(node, "a").await.as_deref(),
            Some("two of three")
        );
    }
}

#[tokio::test]
async fn what_is_acknowledged_survives_the_kill_of_one() {
    let mut cluster = Cluster::started(3, &[]).await;
    for i in 0..30 {
        let victim = i / 10;
        if i % 10 == 5 {
            cluster.nodes[victim].kill();
        }
        let through = &cluster.nodes[(victim + 1) % 3];
        put_eventually(through, &format!("k{i}"), &i.to_string()).await;
        if i % 10 == 9 {
            cluster.restart(victim);
            cluster.nodes[victim].wait_healthy().await;
        }
    }
    for node in &cluster.nodes {
        for i in 0..30 {
            let value = get_eventually(node, &format!("k{i}")).await;
            assert_eq!(value, Some(i.to_string()), "k{i} through {}", node.name);
        }
    }
}

#[tokio::test]
async fn what_is_acknowledged_survives_the_kill_of_all() {
    let mut cluster = Cluster::started(3, &[]).await;
    for round in 0..3 {
        for i in 0..20 {
            put_eventually(&cluster.nodes[round], &format!("k{round}-{i}"), "v").await;
        }
        cluster.nodes.iter_mut().for_each(|node| node.kill());
        (0..3).for_each(|i| cluster.restart(i));
        cluster.wait_healthy().await;
        let other = &cluster.nodes[(round + 1) % 3];
        for i in 0..20 {
            let value = get_eventually(other, &format!("k{round}-{i}")).await;
            assert_eq!(value.as_deref(), Some("v"), "round {round}, key {i}");
        }
    }
}

#[tokio::test]
async fn a_member_that_lags_far_catches_up_by_a_snapshot() {
    let mut cluster =
        Cluster::started(3, &["--snapshot-count=50", "--snapshot-catchup-entries=5"]).await;
    put_eventually(&cluster.nodes[0], "before", "x").await;
    cluster.nodes[2].kill();
    let mut kv = cluster.nodes[0].kv();
    for i in 0..400 {
        let key = format!("k{i:03}");
        eventually("a put", || {
            let (mut kv, key) = (kv.clone(), key.clone());
            async move { put(&mut kv, &key, "v").await.ok() }
        })
        .await;
    }
    let wanted = hash(&cluster, 0).await;
    cluster.restart(2);
    eventually("the same hash on the member that lagged", || {
        let (cluster, wanted) = (&cluster, wanted);
        async move { (try_hash(cluster, 2, wanted.1).await? == wanted).then_some(()) }
    })
    .await;
    // Not entry by entry: those are gone from the logs of the others.
    cluster.nodes[2].wait_for_log("receiving a snapshot").await;
    assert_eq!(get(&mut kv, "k399").await.unwrap().as_deref(), Some("v"));
}

/// The hash of everything, and the revision that it is of.
async fn hash(cluster: &Cluster, i: usize) -> (u32, i64) {
    try_hash(cluster, i, 0).await.expect("a hash")
}

async fn try_hash(cluster: &Cluster, i: usize, revision: i64) -> Option<(u32, i64)> {
    let mut client = pb::maintenance_client::MaintenanceClient::new(cluster.nodes[i].channel());
    let response = client
        .hash_kv(pb::HashKvRequest { revision })
        .await
        .ok()?
        .into_inner();
    Some((response.hash, response.hash_revision))
}
