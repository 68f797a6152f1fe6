//! Sockets and connections.

use super::bind::{BindError, bind};
use super::connection_limit::ConnectionLimit;
use crate::config::url::Url;
use crate::gather::{Outgoing, Traffic, gather};
use crate::server::ServerOptions;
use crate::server::http2::{Bounded, Heads, Normalized};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The pause after a failed accept (too many open files): the listener lives on.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What requests under way get when the server stops.
const DRAIN: Duration = Duration::from_millis(500);
/// HTTP/2's windows. gRPC requests are up to 1.5 MiB; a window of that order lets one through
/// without a round trip in between.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Bytes that a response stream may buffer before its producer waits.
const SEND_BUFFER_BYTES: usize = 1024 * 1024;
/// Streams of one connection that their client has given up before they were looked at. Beyond it
/// the whole connection is cut off, with every watch on it, so it must lie above what honest clients
/// do: a client whose calls time out gives up a stream for each, by the hundred while the machine is
/// busy. (grpc-go has no such limit; h2's own is 20.) One of them holds a few hundred bytes.
const STREAMS_GIVEN_UP_MAX: usize = 64 * 1024;
/// Streams of one connection, over its life, that were reset because of what their client sent,
/// such as the rest of a message that had been refused. Beyond it the connection is cut off. The
/// work of a stream that is reset ends with it, so they cost nobody more than other calls do.
const STREAMS_RESET_MAX: usize = 64 * 1024;
/// The head of a client's HTTP/2 request (16 MiB are grpc-go's default as well): metadata may be
/// long.
const HEAD_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// The head of another member's request, which has a few short fields.
const PEER_HEAD_BYTES_MAX: u32 = 64 * 1024;
/// What an HTTP/1 client may take to send the head of a request, and any client to say which
/// version of HTTP it speaks.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The answer of every service here.
pub type Reply = ::http::Response<tonic::body::Body>;

/// A bound socket that serves nobody yet.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds the address of `url`; port 0 takes a free one. Must run within the runtime.
    pub fn bind(url: &Url, reuse_port: bool) -> Result<Listener, BindError> {
        let socket = bind(url, reuse_port)?;
        let address = socket.local_addr().map_err(|error| BindError::Bind {
            address: url.address.clone(),
            problem: error.to_string(),
        })?;
        Ok(Listener { socket, address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves every connection with `service` until it is told to stop.
    pub(crate) fn serve<S>(
        self,
        service: S,
        tuning: Tuning,
        limit: ConnectionLimit,
        traffic: Option<Traffic>,
    ) -> Listening
    where
        S: Service<::http::Request<Incoming>, Response = Reply, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let (stop, stopping) = watch::channel(false);
        let address = self.address;
        let accepting = accept(self.socket, service, tuning, limit, traffic, stopping);
        detcd_rt::spawn(accepting);
        Listening { address, stop }
    }
}

/// A socket that is being served.
pub struct Listening {
    address: SocketAddr,
    stop: watch::Sender<bool>,
}

impl Listening {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the socket and the connections. Requests under way get a moment to end.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // Every connection holds a receiver until it is closed.
        self.stop.closed().await;
    }
}

/// How connections behave.
#[derive(Clone, Debug)]
pub(crate) struct Tuning {
    /// What a client may take to say anything.
    greeting: Duration,
    head_bytes_max: u32,
    /// Whether requests that etcd takes and h2 does not are made such that it does.
    normalizes: bool,
    max_concurrent_streams: u32,
    keepalive_interval: Option<Duration>,
    keepalive_timeout: Duration,
}

impl Tuning {
    pub fn of_clients(options: &ServerOptions) -> Tuning {
        Tuning {
            greeting: HEAD_TIMEOUT,
            head_bytes_max: HEAD_BYTES_MAX,
            normalizes: true,
            max_concurrent_streams: options.max_concurrent_streams,
            keepalive_interval: options.keepalive_interval,
            keepalive_timeout: options.keepalive_timeout,
        }
    }

    pub fn of_peers(options: &ServerOptions) -> Tuning {
        Tuning {
            head_bytes_max: PEER_HEAD_BYTES_MAX,
            normalizes: false,
            ..Tuning::of_clients(options)
        }
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.max_concurrent_streams)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_pending_accept_reset_streams(STREAMS_GIVEN_UP_MAX)
            .max_local_error_reset_streams(STREAMS_RESET_MAX)
            .max_header_list_size(self.head_bytes_max)
            .keep_alive_interval(self.keepalive_interval)
            .keep_alive_timeout(self.keepalive_timeout);
        builder
    }
}

async fn accept<S>(
    socket: TcpListener,
    service: S,
    tuning: Tuning,
    limit: ConnectionLimit,
    traffic: Option<Traffic>,
    mut stopping: watch::Receiver<bool>,
) where
    S: Service<::http::Request<Incoming>, Response = Reply, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let builder = tuning.builder();
    let port_heads = Arc::default();
    loop {
        // Before a descriptor is taken: the kernel keeps those who wait.
        let permit = tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => return,
            permit = limit.permit() => permit,
        };
        let accepted = tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                // Small replies must not wait for a peer's acknowledgement.
                let _ = stream.set_nodelay(true);
                let (limit, greeting) = (limit.clone(), tuning.greeting);
                let heads = Arc::new(Heads::new(Arc::clone(&port_heads)));
                let service = Bounded {
                    service: service.clone(),
                    heads: heads.clone(),
                };
                let (builder, normalizes) = (builder.clone(), tuning.normalizes);
                let (traffic, mut stopping) = (traffic.clone(), stopping.clone());
                detcd_rt::spawn(async move {
                    // Held until the connection has ended.
                    let _permit = permit;
                    let heard = tokio::select! {
                        biased;
                        _ = stopping.wait_for(|stop| *stop) => false,
                        heard = limit.hears(&stream, greeting) => heard,
                    };
                    if !heard {
                        return;
                    }
                    let (io, outgoing) = gather(stream, traffic, Some(greeting));
                    if normalizes {
                        let io = Normalized::new(io, heads);
                        connection(builder, io, outgoing, service, stopping).await;
                    } else {
                        connection(builder, io, outgoing, service, stopping).await;
                    }
                });
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tracing::warn!(%error, "cannot accept a connection");
                    detcd_rt::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Serves one connection to its end. How it ends is the client's business: garbage, resets and
/// silence are no news.
async fn connection<T, S>(
    builder: auto::Builder<TokioExecutor>,
    io: T,
    outgoing: Outgoing,
    service: Bounded<S>,
    mut stopping: watch::Receiver<bool>,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<::http::Request<Incoming>, Response = Reply, Error = Infallible>,
    S: Send + 'static,
    S::Future: Send + 'static,
{
    let heads = service.heads.clone();
    let connection = builder.serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        ended = poll_fn(|context| {
            heads.polled();
            outgoing.poll(connection.as_mut(), context)
        }) => {
            if let Err(error) = ended {
                tracing::debug!(error = %error, "connection ended");
            }
            return;
        }
        _ = stopping.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    // What has not ended by then is cut off with the connection.
    let rest = poll_fn(|context| {
        heads.polled();
        outgoing.poll(connection.as_mut(), context)
    });
    let _ = detcd_rt::timeout(DRAIN, rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    /// What a client that says `words` is told before the server hangs up.
    async fn hung_up_on(address: SocketAddr, words: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(words).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let read = detcd_rt::timeout(Duration::from_secs(40), read).await;
        // A reset hangs up, too.
        let _ = read.expect("the server hangs up");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Answers everything with an empty 200.
    fn serve(greeting: Duration) -> Listening {
        serve_some(greeting, usize::MAX)
    }

    fn serve_some(greeting: Duration, limit: usize) -> Listening {
        let url = Url::parse("http://127.0.0.1:0").unwrap();
        let tuning = Tuning {
            greeting,
            head_bytes_max: HEAD_BYTES_MAX,
            normalizes: true,
            max_concurrent_streams: u32::MAX,
            keepalive_interval: None,
            keepalive_timeout: Duration::from_secs(20),
        };
        let service = hyper::service::service_fn(|_| async {
            Ok::<_, Infallible>(::http::Response::new(tonic::body::Body::empty()))
        });
        Listener::bind(&url, false).unwrap().serve(
            service,
            tuning,
            ConnectionLimit::new("test", limit),
            None,
        )
    }

    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;

    /// A frame of HTTP/2.
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&len[1..], &[kind, flags], &stream.to_be_bytes()[..]].concat();
        [head, payload.to_vec()].concat()
    }

    /// The kind and the stream of the next frame.
    async fn next_frame(socket: &mut TcpStream) -> (u8, u32) {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.expect("a frame");
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; len as usize];
        socket.read_exact(&mut payload).await.expect("its payload");
        (head[3], u32::from_be_bytes(head[5..].try_into().unwrap()))
    }

    #[tokio::test]
    async fn calls_that_are_given_up_at_once_do_not_end_the_connection() {
        const GIVEN_UP: u32 = 2_000;
        let listening = serve(HEAD_TIMEOUT);
        let mut socket = TcpStream::connect(listening.address()).await.unwrap();
        // GET http:///, all three from HPACK's static table; with END_STREAM and END_HEADERS.
        let get = |stream| frame(HEADERS, 0b101, stream, &[0x82, 0x86, 0x84]);
        let mut words = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        words.extend(frame(SETTINGS, 0, 0, &[]));
        for n in 0..GIVEN_UP {
            let stream = 2 * n + 1;
            words.extend(get(stream));
            // CANCEL.
            words.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
        }
        let last = 2 * GIVEN_UP + 1;
        words.extend(get(last));
        socket.write_all(&words).await.unwrap();
        while next_frame(&mut socket).await != (HEADERS, last) {}
        drop(socket);
        listening.stop().await;
    }

    #[tokio::test]
    async fn a_head_may_be_long() {
        let listening = serve(HEAD_TIMEOUT);
        let address = listening.address();
        let socket = TcpStream::connect(address).await.unwrap();
        let (mut requests, connection) = h2::client::handshake(socket).await.unwrap();
        let connection = detcd_rt::spawn(async move { connection.await.is_ok() });
        for bytes in [20_000, 100_000, 1_000_000] {
            let request = ::http::Request::get(format!("http://{address}/"))
                .header("metadata", "x".repeat(bytes))
                .body(())
                .unwrap();
            let (response, _) = requests.send_request(request, true).unwrap();
            let response = response.await.expect("an answer");
            assert_eq!(response.status(), 200, "{bytes} bytes");
        }
        connection.abort();
        listening.stop().await;
    }

    #[tokio::test]
    async fn a_client_that_never_says_what_it_speaks_is_hung_up_on() {
        let listening = serve(Duration::from_millis(50));
        let address = listening.address();
        assert_eq!(hung_up_on(address, b"").await, "");
        assert_eq!(hung_up_on(address, b"PRI * HTTP/2.0\r\n").await, "");
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answer = hung_up_on(address, request).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        listening.stop().await;
    }
    #[tokio::test]
    async fn connections_beyond_the_limit_wait_until_others_end() {
        let listening = serve_some(HEAD_TIMEOUT, 2);
        let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let ask = async || {
            let mut stream = TcpStream::connect(listening.address()).await.unwrap();
            stream.write_all(request).await.unwrap();
            stream
        };
        let answered = async |stream: &mut TcpStream| {
            let mut head = [0; 12];
            let read = stream.read_exact(&mut head);
            detcd_rt::timeout(Duration::from_millis(500), read).await
        };
        let (mut first, mut second) = (ask().await, ask().await);
        assert!(answered(&mut first).await.is_ok() && answered(&mut second).await.is_ok());
        let mut third = ask().await;
        assert!(answered(&mut third).await.is_err());
        drop(first);
        let mut head = [0; 12];
        third.read_exact(&mut head).await.expect("it is served now");
        assert_eq!(&head, b"HTTP/1.1 200");
        listening.stop().await;
    }
    #[tokio::test]
    async fn who_says_nothing_makes_room_for_who_waits() {
        let listening = serve_some(HEAD_TIMEOUT, 2);
        let address = listening.address();
        let _silent = [
            TcpStream::connect(address).await.unwrap(),
            TcpStream::connect(address).await.unwrap(),
        ];
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answer = hung_up_on(address, request).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        listening.stop().await;
    }
}
