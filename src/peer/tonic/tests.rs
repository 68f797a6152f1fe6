//! Members over real sockets, through a relay that can cut and freeze connections.

use super::{LostHook, PeerService, TonicTransport};
use crate::{Kind, Receiver, Transport, TransportError};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, StreamExt};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio_stream::wrappers::TcpListenerStream;

const CLUSTER: u64 = 0xc1;
const SENDER: u64 = 0xa;
const PEER: u64 = 0xb;
/// Far beyond what anything here takes.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Echoes calls; `ReadIndex` is refused and `Lease` never answered. Streams answer their bytes.
#[derive(Default)]
struct Echo {
    calls: AtomicU64,
    connections: AtomicU64,
    streamed: AtomicU64,
    broken: Mutex<Vec<String>>,
    /// While this is set, streams are not read.
    hold: watch::Sender<bool>,
}

struct EchoReceiver(Arc<Echo>);

impl Receiver for EchoReceiver {
    fn connected(&self, from: u64) {
        assert_eq!(from, SENDER);
        self.0.connections.fetch_add(1, Ordering::SeqCst);
    }

    fn call(
        &self,
        from: u64,
        kind: Kind,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        assert_eq!(from, SENDER);
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        async move {
            match kind {
                Kind::ReadIndex => Err("no leader here".to_owned()),
                Kind::Lease => futures::future::pending().await,
                _ => Ok(body),
            }
        }
        .boxed()
    }

    fn stream(
        &self,
        from: u64,
        kind: Kind,
        mut chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        assert_eq!((from, kind), (SENDER, Kind::Snapshot));
        let echo = self.0.clone();
        async move {
            let mut next = 0_u64;
            let mut hold = echo.hold.subscribe();
            while let Some(chunk) = chunks.next().await {
                hold.wait_for(|hold| !hold).await.unwrap();
                let chunk = chunk.inspect_err(|error| {
                    echo.broken.lock().unwrap().push(error.clone());
                })?;
                assert_eq!(chunk[..8], next.to_be_bytes(), "chunks came out of order");
                next += 1;
                echo.streamed.fetch_add(1, Ordering::SeqCst);
            }
            Ok(Bytes::copy_from_slice(&next.to_be_bytes()))
        }
        .boxed()
    }
}

/// A peer's port, answered by [`Echo`] as member `PEER` of cluster `CLUSTER`.
async fn serve() -> (SocketAddr, Arc<Echo>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let echo = Arc::new(Echo::default());
    let service = PeerService::new(PEER, CLUSTER, Arc::new(EchoReceiver(echo.clone())));
    let incoming = TcpListenerStream::new(listener);
    let server = ::tonic::transport::Server::builder()
        .initial_stream_window_size(detcd_net::limits::PEER_WINDOW_BYTES)
        .initial_connection_window_size(detcd_net::limits::PEER_WINDOW_BYTES)
        .add_service(service);
    tokio::spawn(server.serve_with_incoming(incoming));
    (address, echo)
}

/// Relays connections to another port.
struct Relay {
    address: SocketAddr,
    state: watch::Sender<Wire>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Open,
    /// Connections stay, but no byte passes.
    Frozen,
    /// Connections are closed.
    Cut,
}

impl Relay {
    async fn start(to: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = watch::Sender::new(Wire::Open);
        let wire = state.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *wire.borrow() == Wire::Cut {
                    continue;
                }
                let Ok(far) = TcpStream::connect(to).await else {
                    continue;
                };
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                tokio::spawn(pump(near_in, far_out, wire.clone()));
                tokio::spawn(pump(far_in, near_out, wire.clone()));
            }
        });
        Relay { address, state }
    }

    fn set(&self, wire: Wire) {
        self.state.send_replace(wire);
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut wire: watch::Receiver<Wire>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let state = *wire.borrow_and_update();
        if state == Wire::Cut {
            return;
        }
        tokio::select! {
            biased;
            changed = wire.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            read = from.read(&mut buffer), if state == Wire::Open => match read {
                Ok(length) if length > 0 => {
                    if to.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}

fn transport_to(address: SocketAddr, cluster: u64, lost: Option<LostHook>) -> TonicTransport {
    let mut transport = TonicTransport::new(SENDER, cluster);
    if let Some(lost) = lost {
        transport = transport.with_lost_hook(lost);
    }
    transport.set_peer(PEER, vec![format!("http://{address}")]);
    transport
}

async fn call(
    transport: &TonicTransport,
    kind: Kind,
    body: &'static [u8],
) -> Result<Bytes, TransportError> {
    transport
        .call(PEER, kind, Bytes::from_static(body), WAIT_MAX)
        .await
}

/// Calls until the peer is connected and answers.
async fn connected(transport: &TonicTransport) {
    let deadline = detcd_rt::Instant::now() + WAIT_MAX;
    loop {
        match call(transport, Kind::Vote, b"ping").await {
            Ok(answer) => return assert_eq!(answer, &b"ping"[..]),
            Err(error) => assert!(detcd_rt::Instant::now() < deadline, "{error}"),
        }
        detcd_rt::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_share_a_connection_and_each_gets_its_own_answer() {
    let (address, echo) = serve().await;
    let transport = transport_to(address, CLUSTER, None);
    connected(&transport).await;
    let before = echo.calls.load(Ordering::SeqCst);
    let calls = (0..2000_u64).map(|n| {
        let body = Bytes::from(vec![n as u8; (n % 7 * 1000) as usize]);
        let answer = transport.call(PEER, Kind::AppendEntries, body.clone(), WAIT_MAX);
        async move { assert!(answer.await.unwrap() == body) }
    });
    futures::future::join_all(calls).await;
    assert_eq!(echo.calls.load(Ordering::SeqCst) - before, 2000);
    let large = Bytes::from(vec![7; 20 * 1024 * 1024]);
    let answer = transport
        .call(PEER, Kind::AppendEntries, large.clone(), WAIT_MAX)
        .await;
    assert!(answer.unwrap() == large);
    let refused = call(&transport, Kind::ReadIndex, b"").await.unwrap_err();
    assert_eq!(
        refused,
        TransportError::Refused(PEER, "no leader here".to_owned())
    );
    let unknown = transport
        .call(0xdead, Kind::Vote, Bytes::new(), WAIT_MAX)
        .await;
    assert!(matches!(
        unknown,
        Err(TransportError::Unreachable(0xdead, _))
    ));
    let late = transport
        .call(PEER, Kind::Lease, Bytes::new(), Duration::from_millis(20))
        .await;
    assert!(matches!(late, Err(TransportError::Lost(PEER, _))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_other_clusters_and_misrouted_messages_are_refused() {
    let (address, echo) = serve().await;
    let stranger = transport_to(address, 0xc2, None);
    let misrouted = TonicTransport::new(SENDER, CLUSTER);
    misrouted.set_peer(0xbad, vec![format!("http://{address}")]);
    let chunks = || stream::iter([Bytes::from_static(&[0; 8])]).boxed();
    let refused = stranger
        .stream(PEER, Kind::Snapshot, chunks())
        .await
        .unwrap_err();
    let TransportError::Refused(PEER, reason) = refused else {
        panic!("{refused}")
    };
    assert!(reason.contains("cluster ID mismatch"), "{reason}");
    let refused = misrouted
        .stream(0xbad, Kind::Snapshot, chunks())
        .await
        .unwrap_err();
    let TransportError::Refused(0xbad, reason) = refused else {
        panic!("{refused}")
    };
    assert!(reason.contains("member ID mismatch"), "{reason}");
    for transport in [&stranger, &misrouted] {
        for to in [PEER, 0xbad] {
            let unreachable = transport.call(to, Kind::Vote, Bytes::new(), WAIT_MAX).await;
            assert!(matches!(unreachable, Err(TransportError::Unreachable(..))));
        }
    }
    assert_eq!(echo.calls.load(Ordering::SeqCst), 0);
    assert_eq!(echo.streamed.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_connection_fails_its_calls_is_told_and_heals() {
    let (address, _echo) = serve().await;
    let relay = Relay::start(address).await;
    let (told, mut telling) = tokio::sync::mpsc::unbounded_channel();
    let lost: LostHook = Arc::new(move |peer| {
        // Nobody listens any more when the test ends.
        let _ = told.send(peer);
    });
    let transport = transport_to(relay.address, CLUSTER, Some(lost));
    connected(&transport).await;
    let waiting = transport.call(PEER, Kind::Lease, Bytes::new(), WAIT_MAX);
    let waiting = tokio::spawn(waiting);
    // An answer to a later call proves that the earlier one has been sent.
    connected(&transport).await;
    relay.set(Wire::Cut);
    assert!(matches!(
        waiting.await.unwrap(),
        Err(TransportError::Lost(PEER, _))
    ));
    assert_eq!(telling.recv().await, Some(PEER));
    assert!(matches!(
        call(&transport, Kind::Vote, b"").await,
        Err(TransportError::Unreachable(PEER, _))
    ));
    relay.set(Wire::Open);
    connected(&transport).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_is_told_of_each_connection() {
    let (address, echo) = serve().await;
    let relay = Relay::start(address).await;
    let transport = transport_to(relay.address, CLUSTER, None);
    connected(&transport).await;
    assert!(transport.is_connected(PEER));
    assert!(transport.reconnect(PEER).await, "it is connected already");
    assert!(!transport.reconnect(PEER + 1).await, "nobody is there");
    assert_eq!(echo.connections.load(Ordering::SeqCst), 1);
    relay.set(Wire::Cut);
    wait_for("the end of the connection", || {
        !transport.is_connected(PEER)
    })
    .await;
    relay.set(Wire::Open);
    connected(&transport).await;
    assert_eq!(echo.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_connection_is_noticed() {
    let (address, _echo) = serve().await;
    let relay = Relay::start(address).await;
    let transport = transport_to(relay.address, CLUSTER, None);
    connected(&transport).await;
    let waiting = tokio::spawn(transport.call(PEER, Kind::Lease, Bytes::new(), WAIT_MAX));
    connected(&transport).await;
    relay.set(Wire::Frozen);
    // The call's own deadline is WAIT_MAX: only the keep-alive can end it sooner.
    let started = detcd_rt::Instant::now();
    let answer = waiting.await.unwrap();
    assert!(
        matches!(answer, Err(TransportError::Lost(PEER, _))),
        "{answer:?}"
    );
    assert!(started.elapsed() < WAIT_MAX / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_port_harms_nobody() {
    let (address, _echo) = serve().await;
    let transport = transport_to(address, CLUSTER, None);
    connected(&transport).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for garbage in [&[0xff; 4096][..], b"GET / HTTP/1.0\r\n\r\n", preface, b""] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        // The server may hang up at the first wrong byte, so that a later write is reset.
        for part in [garbage, &[0x55; 1000]] {
            let _ = socket.write_all(part).await;
        }
        connected(&transport).await;
    }
    let held: Vec<TcpStream> = futures::future::join_all(
        (0..200).map(|_| async move { TcpStream::connect(address).await.unwrap() }),
    )
    .await;
    connected(&transport).await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_ordered_and_held_back_by_a_slow_receiver() {
    let (address, echo) = serve().await;
    let transport = transport_to(address, CLUSTER, None);
    echo.hold.send_replace(true);
    let made = Arc::new(AtomicU64::new(0));
    let counter = made.clone();
    let chunks = stream::iter(0..400_u64).map(move |n| {
        counter.fetch_add(1, Ordering::SeqCst);
        let mut bytes = n.to_be_bytes().to_vec();
        bytes.resize(256 * 1024, 1);
        Bytes::from(bytes)
    });
    let sending = tokio::spawn(transport.stream(PEER, Kind::Snapshot, chunks.boxed()));
    wait_for("the windows to fill", || made.load(Ordering::SeqCst) >= 16).await;
    // A hundred MiB do not fit into windows and socket buffers.
    assert!(made.load(Ordering::SeqCst) < 400);
    echo.hold.send_replace(false);
    assert_eq!(sending.await.unwrap().unwrap(), &400_u64.to_be_bytes()[..]);
}

/// Streams went to the first URL only, though calls reached the peer by the second one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_finds_the_url_where_somebody_listens() {
    let (address, _echo) = serve().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = nobody.local_addr().unwrap();
    drop(nobody);
    let transport = TonicTransport::new(SENDER, CLUSTER);
    let urls = [dead, address].map(|address| format!("http://{address}"));
    transport.set_peer(PEER, urls.to_vec());
    let chunks = || stream::iter([Bytes::from_static(&[0; 8])]).boxed();
    let one = &1_u64.to_be_bytes()[..];
    let sent = transport.stream(PEER, Kind::Snapshot, chunks()).await;
    assert_eq!(sent.unwrap(), one, "before any call was made");
    connected(&transport).await;
    let sent = transport.stream(PEER, Kind::Snapshot, chunks()).await;
    assert_eq!(sent.unwrap(), one, "where calls go");
}

/// The connection was closed at once, and the peer out of reach until it had moved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_about_to_move_is_reached_where_it_is() {
    let (old, before) = serve().await;
    let (new, after) = serve().await;
    let relay = Relay::start(old).await;
    let transport = transport_to(relay.address, CLUSTER, None);
    connected(&transport).await;
    transport.set_peer(PEER, vec![format!("http://{new}")]);
    assert_eq!(&call(&transport, Kind::Vote, b"a").await.unwrap()[..], b"a");
    assert_eq!(before.connections.load(Ordering::SeqCst), 1);
    assert_eq!(after.connections.load(Ordering::SeqCst), 0);
    relay.set(Wire::Cut);
    connected(&transport).await;
    assert_eq!(after.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_is_an_error_on_both_sides() {
    let (address, echo) = serve().await;
    let relay = Relay::start(address).await;
    let transport = transport_to(relay.address, CLUSTER, None);
    let (sent, has_sent) = oneshot::channel();
    let stop = stream::once(async move {
        sent.send(()).unwrap();
        futures::future::pending().await
    });
    let first = stream::iter([Bytes::from_static(&[0; 8])]);
    let sending = tokio::spawn(transport.stream(PEER, Kind::Snapshot, first.chain(stop).boxed()));
    has_sent.await.unwrap();
    wait_for("the first chunk", || {
        echo.streamed.load(Ordering::SeqCst) == 1
    })
    .await;
    relay.set(Wire::Cut);
    assert!(matches!(
        sending.await.unwrap(),
        Err(TransportError::Lost(PEER, _))
    ));
    wait_for("the receiver to learn of it", || {
        echo.broken.lock().unwrap().len() == 1
    })
    .await;
}

async fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = detcd_rt::Instant::now() + WAIT_MAX;
    while !condition() {
        assert!(
            detcd_rt::Instant::now() < deadline,
            "waited in vain for {what}"
        );
        detcd_rt::sleep(Duration::from_millis(2)).await;
    }
}
