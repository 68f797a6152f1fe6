//! Crowds of connections and of watchers.

use crate::abuse::garbage;
use crate::cluster::{Cluster, Node, STOP_MAX, WAIT_MAX, eventually, put};
use crate::disaster::number;
use detcd_wire::etcdserverpb as pb;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// 10 000 connections, or as many as this machine lets one process have; every third of them says
/// what nobody understands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_are_served() {
    let limit = usize::try_from(raise_open_files()).unwrap_or(usize::MAX);
    // The member keeps some of its descriptors for other things.
    let crowd = (limit - limit / 4).saturating_sub(150).min(10_000);
    assert!(
        crowd >= 500,
        "this machine allows too few open files for this test"
    );
    eprintln!("{crowd} connections");
    let mut cluster = Cluster::started(1, &[]).await;
    let node = &cluster.nodes[0];
    let garbage = garbage();
    let (mut sensible, mut others) = (Vec::new(), Vec::new());
    for i in 0..crowd {
        let mut stream = connect(node).await;
        if i % 3 == 2 {
            // The other side may hang up in the middle.
            let _ = stream.write_all(&garbage[i / 3 % garbage.len()]).await;
            others.push(stream);
        } else {
            sensible.push(stream);
        }
    }
    // Each of them is served, not only held.
    for stream in &mut sensible {
        stream
            .write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
    }
    for stream in &mut sensible {
        let mut head = [0; 15];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
    }
    put(&mut node.kv(), "a", "1").await.unwrap();
    node.wait_healthy().await;
    drop(others);
    let (status, took) = cluster.nodes[0].stop().await;
    assert!(
        status.success() && took < STOP_MAX,
        "{status} after {took:?}"
    );
}

async fn connect(node: &Node) -> TcpStream {
    eventually("a connection", || async {
        TcpStream::connect(("127.0.0.1", node.client_port))
            .await
            .ok()
    })
    .await
}

/// The limit of open files, raised as far as it goes.
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
    .expect("within the limit");
    maximum.unwrap_or(u64::MAX)
}

/// Watchers on streams; more with `DETCD_TEST_WATCHERS`.
const WATCHERS: usize = 5_000;
const STREAMS: usize = 10;

struct Stream {
    responses: Streaming<pb::WatchResponse>,
    /// The stream is open as long as requests may come.
    _requests: tokio::sync::mpsc::Sender<pb::WatchRequest>,
}

/// A stream with `count` watchers of one key, which all exist.
async fn watch(node: &Node, count: usize) -> Stream {
    let (requests, receiver) = tokio::sync::mpsc::channel(count);
    for _ in 0..count {
        let create = pb::WatchCreateRequest {
            key: "watched".into(),
            ..Default::default()
        };
        let request = pb::WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        requests.send(request).await.expect("it has room for all");
    }
    let mut client = WatchClient::new(node.channel());
    let responses = client.watch(ReceiverStream::new(receiver)).await;
    let mut stream = Stream {
        responses: responses.expect("a stream").into_inner(),
        _requests: requests,
    };
    for _ in 0..count {
        assert!(next(&mut stream).await.created);
    }
    stream
}

async fn next(stream: &mut Stream) -> pb::WatchResponse {
    let response = tokio::time::timeout(WAIT_MAX, stream.responses.message()).await;
    let response = response.expect("a response in time").expect("no error");
    response.expect("the stream goes on")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_watchers_each_see_each_change_once() {
    let cluster = Cluster::started(1, &[]).await;
    let node = &cluster.nodes[0];
    let each = number("DETCD_TEST_WATCHERS", WATCHERS).div_ceil(STREAMS);
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(watch(node, each).await);
    }
    let mut kv = node.kv();
    let first = put(&mut kv, "watched", "1").await.unwrap();
    let second = put(&mut kv, "watched", "2").await.unwrap();
    put(&mut kv, "unwatched", "x").await.unwrap();
    for stream in &mut streams {
        let mut seen = std::collections::BTreeMap::<i64, Vec<i64>>::new();
        let mut missing = 2 * each;
        while missing > 0 {
            let response = next(stream).await;
            assert!(!response.canceled, "{response:?}");
            let of = seen.entry(response.watch_id).or_default();
            for event in response.events {
                of.push(event.kv.expect("a key").mod_revision);
                missing -= 1;
            }
        }
        assert_eq!(seen.len(), each);
        for (id, revisions) in seen {
            assert_eq!(revisions, [first, second], "watcher {id}");
        }
    }
}
