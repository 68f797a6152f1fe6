//! What members tell: progress to watchers of the future, what is left of a cluster without a
//! quorum, and readiness to the system's manager.

use crate::cluster::{Cluster, Node, STOP_MAX, WAIT_MAX, eventually, http_get, put};
use crate::descriptors::wrapped;
use crate::tools::{self, Tool};
use detcd_wire::etcdserverpb as pb;
use pb::cluster_client::ClusterClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::net::UnixDatagram;
use tokio::sync::mpsc::Sender;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Response, Status, Streaming};

fn detcd() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_detcd"))
}

/// A watch stream and what asks on it.
struct Watching {
    requests: Sender<pb::WatchRequest>,
    responses: Streaming<pb::WatchResponse>,
}

impl Watching {
    /// Watches "a" from `start` on, with reports at intervals.
    async fn from(node: &Node, start: i64) -> Watching {
        let (requests, receiver) = tokio::sync::mpsc::channel(8);
        let create = pb::WatchCreateRequest {
            key: "a".into(),
            start_revision: start,
            progress_notify: true,
            ..Default::default()
        };
        send(&requests, RequestUnion::CreateRequest(create)).await;
        let mut client = WatchClient::new(node.channel());
        let responses = client.watch(ReceiverStream::new(receiver)).await;
        let mut watching = Watching {
            requests,
            responses: responses.expect("a stream").into_inner(),
        };
        assert!(watching.next().await.created);
        watching
    }

    async fn next(&mut self) -> pb::WatchResponse {
        let response = tokio::time::timeout(WAIT_MAX, self.responses.message()).await;
        response.expect("in time").expect("no error").expect("more")
    }

    async fn ask_for_progress(&self) {
        let progress = pb::WatchProgressRequest {};
        send(&self.requests, RequestUnion::ProgressRequest(progress)).await;
    }
}

async fn send(requests: &Sender<pb::WatchRequest>, union: RequestUnion) {
    let request = pb::WatchRequest {
        request_union: Some(union),
    };
    requests.send(request).await.expect("the stream is open");
}

/// etcd tells it so from 3.6.2 on; 3.5.1 reports what is before the start.
#[tokio::test]
async fn a_watcher_of_the_future_is_told_no_progress_below_its_start() {
    let interval = "--watch-progress-notify-interval=100ms";
    let cluster = Cluster::started(1, &[interval]).await;
    let node = &cluster.nodes[0];
    let mut kv = node.kv();
    let now = put(&mut kv, "b", "1").await.expect("a write");
    let start = now + 3;
    let mut future = Watching::from(node, start).await;
    let mut present = Watching::from(node, 0).await;
    future.ask_for_progress().await;
    // The reports of several intervals: the other stream is told, and this one is not.
    for _ in 0..3 {
        assert!(present.next().await.header.expect("a header").revision >= now);
    }
    for n in 0..3 {
        put(&mut kv, "b", &n.to_string()).await.expect("a write");
    }
    let response = future.next().await;
    assert!(response.header.expect("a header").revision >= start);
    // Once the start has come, who asks is answered.
    future.ask_for_progress().await;
    let mut told = response.watch_id;
    while told != -1 {
        told = future.next().await.watch_id;
    }
}

/// The outcome of a call, which must come well within what a client waits.
async fn told<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Code> {
    const CLIENT: Duration = Duration::from_secs(3);
    let answer = tokio::time::timeout(CLIENT, call).await;
    match answer {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(status.code()),
        // etcdctl's commands would wait on.
        Err(_) => Err(Code::DeadlineExceeded),
    }
}

/// What the last of three members answers after the others were killed.
#[derive(Debug, PartialEq, Eq)]
struct Alone {
    health: Option<(u16, String)>,
    leases: Result<Vec<i64>, Code>,
    members: Result<usize, Code>,
    members_linearizable: Result<usize, Code>,
    status: Result<Vec<String>, Code>,
    has_hash: bool,
    time_to_live: Result<i64, Code>,
    alarms: Result<usize, Code>,
    adds_member: Result<usize, Code>,
    adds_learner: Result<usize, Code>,
}

async fn alone(program: &Path) -> (Cluster, Alone) {
    let mut cluster = Cluster::of(program.to_owned(), 3, &[]);
    (0..3).for_each(|i| cluster.start(i));
    cluster.wait_healthy().await;
    let grant = pb::LeaseGrantRequest { ttl: 600, id: 77 };
    let granted = LeaseClient::new(cluster.nodes[0].channel())
        .lease_grant(grant)
        .await;
    granted.expect("a lease");
    let channel = cluster.nodes[0].channel();
    eventually("the lease is known here", || async {
        let mut lease = LeaseClient::new(channel.clone());
        let leases = lease.lease_leases(pb::LeaseLeasesRequest {}).await.ok()?;
        (leases.into_inner().leases.len() == 1).then_some(())
    })
    .await;
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let node = &cluster.nodes[0];
    eventually("the loss of the leader", || async {
        (node.status().await?.leader == 0).then_some(())
    })
    .await;
    let mut lease = LeaseClient::new(channel.clone());
    let mut members = ClusterClient::new(channel.clone());
    let mut maintenance = MaintenanceClient::new(channel);
    let list = |linearizable| pb::MemberListRequest { linearizable };
    let time_to_live = pb::LeaseTimeToLiveRequest {
        id: 77,
        keys: false,
    };
    let add = |is_learner| pb::MemberAddRequest {
        peer_urls: vec!["http://127.0.0.1:9".to_owned()],
        is_learner,
    };
    let alone = Alone {
        health: node.get("/health").await,
        leases: told(lease.lease_leases(pb::LeaseLeasesRequest {}))
            .await
            .map(|it| it.leases.iter().map(|lease| lease.id).collect()),
        members: told(members.member_list(list(false)))
            .await
            .map(|it| it.members.len()),
        members_linearizable: told(members.member_list(list(true)))
            .await
            .map(|it| it.members.len()),
        status: told(maintenance.status(pb::StatusRequest {}))
            .await
            .map(|it| it.errors),
        has_hash: told(maintenance.hash_kv(pb::HashKvRequest { revision: 0 }))
            .await
            .is_ok(),
        time_to_live: told(lease.lease_time_to_live(time_to_live))
            .await
            .map(|it| it.ttl),
        alarms: told(maintenance.alarm(pb::AlarmRequest::default()))
            .await
            .map(|it| it.alarms.len()),
        adds_member: told(members.member_add(add(false)))
            .await
            .map(|it| it.members.len()),
        adds_learner: told(members.member_add(add(true)))
            .await
            .map(|it| it.members.len()),
    };
    (cluster, alone)
}

#[tokio::test]
async fn the_last_of_three_members_answers_what_etcds_answers() {
    let (cluster, detcd) = alone(detcd()).await;
    assert_eq!(detcd.leases, Ok(vec![77]));
    let node = &cluster.nodes[0];
    for (page, status) in [
        ("/readyz", 503),
        ("/livez", 200),
        // etcd 3.5.1 wants a leader here as well; later ones do not.
        ("/health?serializable=true", 200),
        ("/readyz/linearizable_read", 503),
    ] {
        let start = Instant::now();
        let answered = node.get(page).await.expect("an answer");
        assert_eq!(answered.0, status, "{page}: {answered:?}");
        assert!(start.elapsed() < Duration::from_secs(3), "{page}");
    }
    if let Some(etcd) = tools::find(Tool::Etcd, "the last of three members") {
        let (_cluster, etcd) = alone(&etcd).await;
        assert_eq!(detcd, etcd);
    }
}

/// The moment between the loss of the quorum and the knowledge of it.
#[tokio::test]
async fn probes_answer_while_the_loss_of_the_leader_is_not_known_yet() {
    // Longer than the probes may take.
    let slow = ["--heartbeat-interval=800", "--election-timeout=4000"];
    let mut cluster = Cluster::started(3, &slow).await;
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let node = &cluster.nodes[0];
    for page in ["/health", "/readyz"] {
        let start = Instant::now();
        let answered = node.get(page).await.expect("an answer");
        assert_eq!(answered.0, 503, "{page}: {answered:?}");
        assert!(start.elapsed() < Duration::from_secs(3), "{page}");
    }
}

/// What arrives at the system's manager, until nothing did for a while.
async fn notified(socket: &UnixDatagram, wait: Duration) -> String {
    let mut words = String::new();
    let mut bytes = [0; 1024];
    while let Ok(received) = tokio::time::timeout(wait, socket.recv(&mut bytes)).await {
        let received = received.expect("a datagram");
        words += std::str::from_utf8(&bytes[..received]).expect("text");
        if words.contains("READY") || words.contains("STOPPING") {
            break;
        }
    }
    words
}

async fn readiness_is_told(program: &Path, at_stop: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let first = format!("export NOTIFY_SOCKET={}", path.display());
    let mut cluster = Cluster::of(wrapped(folder.path(), &first, program), 2, &[]);
    cluster.start(0);
    // It listens, and can serve nobody: it is one of two.
    let peer_port = cluster.nodes[0].peer_port;
    eventually("a listener", || http_get(peer_port, "/version")).await;
    let early = notified(&socket, Duration::from_millis(500)).await;
    assert_eq!(early, "", "{program:?}");
    // The other one has no socket to tell.
    let flags = cluster.flags(1);
    let silent = Cluster::of(program.to_owned(), 1, &[]);
    let mut other = silent;
    other.nodes[0].spawn(&flags);
    let ready = notified(&socket, WAIT_MAX).await;
    assert_eq!(ready.trim(), "READY=1", "{program:?}");
    let mut kv = cluster.nodes[0].kv();
    put(&mut kv, "a", "1")
        .await
        .expect("it serves when it says so");
    let node = &mut cluster.nodes[0];
    let (_, took) = node.stop().await;
    assert!(took < STOP_MAX, "{took:?}");
    let stopped = notified(&socket, Duration::from_millis(100)).await;
    assert_eq!(stopped.trim(), at_stop, "{program:?}");
}

#[tokio::test]
async fn the_systems_manager_is_told_of_readiness_and_stop() {
    readiness_is_told(detcd(), "STOPPING=1").await;
    if let Some(etcd) = tools::find(Tool::Etcd, "the system's manager") {
        readiness_is_told(&etcd, "").await;
    }
}
