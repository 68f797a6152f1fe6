//! The sending side: connections that keep themselves up.

use super::codec::{FrameCodec, RawCodec};
use super::identity::{self, Identity};
use super::{CALLS_MAX, MESSAGE_BYTES_MAX, PATH_CALLS, PATH_STREAM};
use crate::frame::Frame;
use crate::{Kind, Transport, TransportError};
use ::tonic::client::Grpc;
use ::tonic::transport::{Channel, Endpoint};
use ::tonic::{Code, Request, Status, Streaming};
use bytes::Bytes;
use detcd_net::limits::{
    PEER_DIAL_TIMEOUT, PEER_KEEPALIVE_INTERVAL, PEER_KEEPALIVE_TIMEOUT, PEER_WINDOW_BYTES,
};
use detcd_net::tls::TlsClient;
use detcd_net::{Address, Connector, Dialer};
use detcd_rt::{Instant, JoinHandle};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt};
use http::uri::PathAndQuery;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, info, warn};

/// Pauses between attempts to connect double from the first to the last.
const RECONNECT_FIRST: Duration = Duration::from_millis(10);
const RECONNECT_LAST: Duration = Duration::from_millis(500);
/// The pause after a peer refused this member: somebody has to change a configuration.
const RECONNECT_REFUSED: Duration = Duration::from_secs(2);

/// Told the id of a peer whose connection has ended.
pub type LostHook = Arc<dyn Fn(u64) + Send + Sync>;

/// Sends to other members over gRPC. Must be made and used within a tokio runtime.
pub struct TonicTransport {
    identity: Identity,
    peers: Mutex<BTreeMap<u64, Arc<Peer>>>,
    lost: Option<LostHook>,
    tls: Option<Arc<TlsClient>>,
}

impl TonicTransport {
    pub fn new(member: u64, cluster: u64) -> TonicTransport {
        TonicTransport {
            identity: Identity { member, cluster },
            peers: Mutex::new(BTreeMap::new()),
            lost: None,
            tls: None,
        }
    }

    /// With what to speak TLS to the peers whose URLs ask for it.
    pub fn with_tls(self, tls: Option<Arc<TlsClient>>) -> TonicTransport {
        TonicTransport { tls, ..self }
    }

    /// Has `hook` called whenever an established connection to a peer ends.
    pub fn with_lost_hook(mut self, hook: LostHook) -> TonicTransport {
        self.lost = Some(hook);
        self
    }

    fn peer(&self, id: u64) -> Option<Arc<Peer>> {
        self.peers().get(&id).cloned()
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Peer>>> {
        self.peers
            .lock()
            .expect("nothing panics while it holds the peers")
    }
}

impl Transport for TonicTransport {
    fn set_peer(&self, id: u64, peer_urls: Vec<String>) {
        let mut peers = self.peers();
        if peers
            .get(&id)
            .is_some_and(|peer| peer.link.takes(&peer_urls))
        {
            return;
        }
        let link = Arc::new(Link {
            to: id,
            urls: Mutex::new(peer_urls),
            identity: self.identity,
            reached: AtomicUsize::new(0),
            connection: Mutex::new(None),
            wanted: Notify::new(),
            heard_from: Notify::new(),
            established: Notify::new(),
            lost: self.lost.clone(),
            tls: self.tls.clone(),
        });
        let task = detcd_rt::spawn(link.clone().keep_connected());
        peers.insert(id, Arc::new(Peer { link, task }));
    }

    fn remove_peer(&self, id: u64) {
        let removed = self.peers().remove(&id);
        // Its destructor ends the connection, and must not do so under the lock.
        drop(removed);
    }

    fn call(
        &self,
        to: u64,
        kind: Kind,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let peer = self.peer(to);
        async move {
            let Some(peer) = peer else {
                return Err(TransportError::Unreachable(to, "unknown member".to_owned()));
            };
            peer.link.call(kind, body, timeout).await
        }
        .boxed()
    }

    fn stream(
        &self,
        to: u64,
        kind: Kind,
        chunks: BoxStream<'static, Bytes>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let peer = self.peer(to);
        async move {
            let Some(peer) = peer else {
                return Err(TransportError::Unreachable(to, "unknown member".to_owned()));
            };
            peer.link.stream(kind, chunks).await
        }
        .boxed()
    }

    fn is_connected(&self, to: u64) -> bool {
        self.peer(to).is_some_and(|peer| peer.link.slot().is_some())
    }

    fn reconnect(&self, to: u64) -> BoxFuture<'static, bool> {
        let peer = self.peer(to);
        async move {
            match peer {
                Some(peer) => peer.link.reconnect().await,
                None => false,
            }
        }
        .boxed()
    }
}

/// A peer and the task that keeps its connection up, which ends with it.
struct Peer {
    link: Arc<Link>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
        self.link.disconnect();
    }
}

struct Link {
    to: u64,
    urls: Mutex<Vec<String>>,
    identity: Identity,
    /// Which of the URLs led to the peer last.
    reached: AtomicUsize,
    connection: Mutex<Option<Arc<Connection>>>,
    /// Somebody wants to call while there is no connection.
    wanted: Notify,
    /// The peer has connected to this member: it is there.
    heard_from: Notify,
    established: Notify,
    lost: Option<LostHook>,
    tls: Option<Arc<TlsClient>>,
}

/// An established stream of calls.
struct Connection {
    queue: mpsc::Sender<Frame>,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    next: u64,
    /// `None` once the connection is gone: nobody would answer.
    waiting: Option<BTreeMap<u64, oneshot::Sender<Result<Bytes, String>>>>,
}

impl Link {
    fn urls(&self) -> Vec<String> {
        let urls = self.urls.lock();
        urls.expect("nothing panics while it holds the URLs")
            .clone()
    }

    /// Whether the peer goes on to be reached by this link under these URLs. A connection stays, as
    /// in etcd: who is told that it moves has yet to do so.
    fn takes(&self, urls: &[String]) -> bool {
        let is_connected = self.slot().is_some();
        let known = self.urls.lock();
        let mut known = known.expect("nothing panics while it holds the URLs");
        let takes = is_connected || *known == urls;
        if takes {
            *known = urls.to_vec();
        }
        takes
    }

    async fn keep_connected(self: Arc<Self>) {
        let mut pause = RECONNECT_FIRST;
        let mut last_problem = String::new();
        for attempt in 0_usize.. {
            let begun = Instant::now();
            match self.connect(attempt).await {
                Ok((connection, answers)) => {
                    info!(to = format_args!("{:x}", self.to), "connected to peer");
                    *self.slot() = Some(connection.clone());
                    self.reached.store(attempt, Ordering::Relaxed);
                    self.established.notify_waiters();
                    let end = connection.dispatch(answers).await;
                    self.disconnect();
                    info!(to = format_args!("{:x}", self.to), %end, "lost the connection to peer");
                    if let Some(lost) = &self.lost {
                        lost(self.to);
                    }
                    pause = RECONNECT_FIRST;
                    last_problem.clear();
                }
                Err(status) => {
                    let problem = status.message().to_owned();
                    if problem != last_problem {
                        let to = format_args!("{:x}", self.to);
                        warn!(to, urls = ?self.urls(), %problem, "cannot connect to peer");
                        last_problem = problem;
                    }
                    if is_refusal(status.code()) {
                        pause = RECONNECT_REFUSED;
                    } else if begun.elapsed() >= PEER_DIAL_TIMEOUT {
                        // It may be there, and not serve yet. That took longer than any pause.
                        pause = RECONNECT_FIRST;
                    }
                }
            }
            self.pause(pause).await;
            pause = (pause * 2).min(RECONNECT_LAST);
        }
    }

    /// Waits before the next attempt, unless the peer is heard from. Beyond the first pause, a call
    /// that wants the peer cuts the rest of it short.
    async fn pause(&self, pause: Duration) {
        let pauses = async {
            detcd_rt::sleep(pause).await;
            if pause > RECONNECT_FIRST {
                let _ = detcd_rt::timeout(pause, self.wanted.notified()).await;
            }
        };
        tokio::select! {
            biased;
            () = self.heard_from.notified() => {}
            () = pauses => {}
        }
    }

    async fn reconnect(&self) -> bool {
        let mut established = pin!(self.established.notified());
        // From here on it misses nothing.
        established.as_mut().enable();
        if self.slot().is_some() {
            return true;
        }
        self.heard_from.notify_one();
        detcd_rt::timeout(PEER_DIAL_TIMEOUT, established)
            .await
            .is_ok()
    }

    async fn connect(&self, attempt: usize) -> Result<(Arc<Connection>, Streaming<Frame>), Status> {
        let mut grpc = Grpc::new(self.channel(attempt).await?)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (queue, frames) = mpsc::channel(CALLS_MAX);
        let mut request = Request::new(ReceiverStream::new(frames));
        self.identity.write(self.to, request.metadata_mut());
        let path = PathAndQuery::from_static(PATH_CALLS);
        let opening = grpc.streaming(request, path, FrameCodec);
        let answers = detcd_rt::timeout(PEER_DIAL_TIMEOUT, opening)
            .await
            .map_err(|_| Status::deadline_exceeded("the peer does not answer"))??;
        let calls = Mutex::new(Calls {
            next: 1,
            waiting: Some(BTreeMap::new()),
        });
        Ok((Arc::new(Connection { queue, calls }), answers.into_inner()))
    }

    async fn channel(&self, attempt: usize) -> Result<Channel, Status> {
        let urls = self.urls();
        let Some(url) = urls.get(attempt % urls.len().max(1)) else {
            return Err(Status::unavailable("the member has no peer URLs"));
        };
        let failed = |error: &dyn std::error::Error| {
            Status::unavailable(format!("{url}: {}", with_causes(error)))
        };
        let address = Address::of_url(url).map_err(|error| failed(&error))?;
        let endpoint = Endpoint::from_shared(format!("http://{}", address.authority()))
            .map_err(|error| failed(&error))?
            .initial_stream_window_size(PEER_WINDOW_BYTES)
            .initial_connection_window_size(PEER_WINDOW_BYTES)
            .http2_keep_alive_interval(PEER_KEEPALIVE_INTERVAL)
            .keep_alive_timeout(PEER_KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let dialer = Dialer::within(PEER_DIAL_TIMEOUT).with_tls(self.tls.clone());
        let connector = Connector::new(dialer, address);
        let connected = endpoint.connect_with_connector(connector).await;
        let mut channel = connected.map_err(|error| failed(&error))?;
        // The channel takes requests only once it says that it is ready.
        std::future::poll_fn(|context| tower_service::Service::poll_ready(&mut channel, context))
            .await
            .map_err(|error| failed(&error))?;
        Ok(channel)
    }

    /// A connection to the first of the URLs where somebody listens, beginning with the one that
    /// calls go to.
    async fn any_channel(&self) -> Result<Channel, Status> {
        let urls = self.urls().len();
        let first = self.reached.load(Ordering::Relaxed) % urls.max(1);
        let mut connected = self.channel(first).await;
        for attempt in first + 1..first + urls {
            if connected.is_ok() {
                break;
            }
            connected = self.channel(attempt).await;
        }
        connected
    }

    async fn call(
        &self,
        kind: Kind,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, TransportError> {
        let to = self.to;
        let connection = self.slot().clone();
        let Some(connection) = connection else {
            self.wanted.notify_one();
            return Err(TransportError::Unreachable(to, "not connected".to_owned()));
        };
        let Some((call, answer)) = connection.register() else {
            return Err(TransportError::Unreachable(
                to,
                "the connection has ended".to_owned(),
            ));
        };
        // Dropped with this future, at a timeout or before: late answers find nobody.
        let _unregister = Unregister {
            connection: &connection,
            call,
        };
        let deadline = detcd_rt::Instant::now() + timeout;
        let frame = Frame::Request { call, kind, body };
        match detcd_rt::timeout_at(deadline, connection.queue.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                return Err(TransportError::Unreachable(
                    to,
                    "the connection has ended".to_owned(),
                ));
            }
            Err(_) => {
                return Err(TransportError::Unreachable(
                    to,
                    "too many calls wait".to_owned(),
                ));
            }
        }
        match detcd_rt::timeout_at(deadline, answer).await {
            Ok(Ok(Ok(body))) => Ok(body),
            Ok(Ok(Err(reason))) => Err(TransportError::Refused(to, reason)),
            Ok(Err(_)) => Err(TransportError::Lost(
                to,
                "the connection has ended".to_owned(),
            )),
            Err(_) => Err(TransportError::Lost(to, format!("nothing for {timeout:?}"))),
        }
    }

    async fn stream(
        &self,
        kind: Kind,
        chunks: BoxStream<'static, Bytes>,
    ) -> Result<Bytes, TransportError> {
        let to = self.to;
        let channel = self
            .any_channel()
            .await
            .map_err(|status| TransportError::Unreachable(to, status.message().to_owned()))?;
        let mut grpc = Grpc::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let mut request = Request::new(chunks);
        self.identity.write(to, request.metadata_mut());
        identity::write_kind(kind as u8, request.metadata_mut());
        let path = PathAndQuery::from_static(PATH_STREAM);
        match grpc.client_streaming(request, path, RawCodec).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) if is_refusal(status.code()) => {
                Err(TransportError::Refused(to, status.message().to_owned()))
            }
            Err(status) => Err(TransportError::Lost(to, status.to_string())),
        }
    }

    fn disconnect(&self) {
        let connection = self.slot().take();
        if let Some(connection) = connection {
            connection.end();
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Connection>>> {
        self.connection
            .lock()
            .expect("nothing panics while it holds the connection")
    }
}

impl Connection {
    /// Hands answers to those who wait for them, until the connection ends; says why it did.
    async fn dispatch(&self, mut answers: Streaming<Frame>) -> String {
        loop {
            let (call, answer) = match answers.next().await {
                Some(Ok(Frame::Answer { call, body })) => (call, Ok(body)),
                Some(Ok(Frame::Refusal { call, reason })) => (call, Err(reason)),
                Some(Ok(Frame::Request { .. })) => return "the peer asks on our stream".to_owned(),
                Some(Err(status)) => return status.message().to_owned(),
                None => return "the peer ended the stream".to_owned(),
            };
            let waiting = self
                .calls()
                .waiting
                .as_mut()
                .and_then(|waiting| waiting.remove(&call));
            match waiting {
                // Whoever waited may just have given up.
                Some(waiting) => drop(waiting.send(answer)),
                None => debug!(call, "an answer came too late"),
            }
        }
    }

    fn register(&self) -> Option<(u64, oneshot::Receiver<Result<Bytes, String>>)> {
        let mut calls = self.calls();
        let call = calls.next;
        let (answer, answered) = oneshot::channel();
        calls.waiting.as_mut()?.insert(call, answer);
        calls.next += 1;
        Some((call, answered))
    }

    /// Fails every call under way.
    fn end(&self) {
        self.calls().waiting = None;
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls
            .lock()
            .expect("nothing panics while it holds the calls")
    }
}

struct Unregister<'a> {
    connection: &'a Connection,
    call: u64,
}

impl Drop for Unregister<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = &mut self.connection.calls().waiting {
            waiting.remove(&self.call);
        }
    }
}

/// Whether the peer has judged the request, and would judge it the same again.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::FailedPrecondition | Code::InvalidArgument | Code::Unimplemented
    )
}

/// tonic's transport errors say "transport error"; what happened stands in their sources.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    const TEST_TIMEOUT: Duration = Duration::from_secs(30);

    fn link() -> Link {
        Link {
            to: 1,
            urls: Mutex::default(),
            identity: Identity {
                member: 2,
                cluster: 3,
            },
            reached: AtomicUsize::new(0),
            connection: Mutex::new(None),
            wanted: Notify::new(),
            heard_from: Notify::new(),
            established: Notify::new(),
            lost: None,
            tls: None,
        }
    }

    #[tokio::test]
    async fn a_pause_ends_once_the_peer_is_heard_from() {
        let link = Arc::new(link());
        let pausing = detcd_rt::spawn({
            let link = link.clone();
            async move { link.pause(LONG).await }
        });
        // A call that wants the peer does not cut short so much of a pause.
        link.wanted.notify_one();
        assert!(!link.reconnect().await, "nobody has connected it");
        let ended = detcd_rt::timeout(TEST_TIMEOUT, pausing).await;
        ended.expect("the pause has ended").unwrap();
    }
}
