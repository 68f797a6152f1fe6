//! Connections of clients and of other members, from the socket to HTTP.

use crate::server::ServerOptions;
use crate::server::http2::{Bounded, Heads, NormalizingFilter};
use crate::server::takeover::Takeover;
use detcd_net::limits::{
    CONNECTION_WINDOW_BYTES, DRAIN_TIMEOUT, HEAD_BYTES_MAX, HEAD_TIMEOUT, PEER_HEAD_BYTES_MAX,
    PEER_PORT_KEEPALIVE_INTERVAL, PEER_PORT_KEEPALIVE_TIMEOUT, SEND_BUFFER_BYTES,
    STREAM_WINDOW_BYTES, STREAMS_GIVEN_UP_MAX, STREAMS_RESET_MAX,
};
use detcd_net::tls::{HandshakeError, Secured, Security};
use detcd_net::{
    BatchedStream, ConnectionLimit, ConnectionPermit, Filtered, FirstBytes, Listener, LocalAddress,
    PendingWrites, SocketFile, Stream, Traffic,
};
use detcd_rt::{Instant, RepeatedLines};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// The answer of every service here.
pub type Reply = ::http::Response<tonic::body::Body>;

/// How the connections of a port are served.
#[derive(Clone)]
pub(crate) struct Port {
    pub tuning: Tuning,
    pub limit: ConnectionLimit,
    pub traffic: Option<Arc<dyn Traffic>>,
}

impl Port {
    /// Serves every connection of `listener` with `service` until it is told to stop.
    pub fn serve<S>(&self, mut listener: Listener, service: S) -> Listening
    where
        S: Service<::http::Request<Incoming>, Response = Reply, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let (stop, stopping) = watch::channel(false);
        let (address, file) = (listener.address().clone(), listener.take_file());
        detcd_rt::spawn(accept(listener, service, self.clone(), stopping));
        Listening {
            address,
            _file: file,
            stop,
        }
    }
}

/// A socket that is being served. Its file goes with it.
pub struct Listening {
    address: LocalAddress,
    _file: Option<SocketFile>,
    stop: watch::Sender<bool>,
}

impl Listening {
    pub fn address(&self) -> &LocalAddress {
        &self.address
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
    first_bytes_timeout: Duration,
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
            first_bytes_timeout: HEAD_TIMEOUT,
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
            keepalive_interval: Some(PEER_PORT_KEEPALIVE_INTERVAL),
            keepalive_timeout: PEER_PORT_KEEPALIVE_TIMEOUT,
            ..Tuning::of_clients(options)
        }
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // As Go writes them; people and scripts look for them so.
            .title_case_headers(true)
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

async fn accept<S>(listener: Listener, service: S, port: Port, mut stopping: watch::Receiver<bool>)
where
    S: Service<::http::Request<Incoming>, Response = Reply, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let served = Arc::new(Served {
        builder: port.tuning.builder(),
        security: listener.security().clone(),
        address: listener.address().clone(),
        lines: RepeatedLines::default(),
        port,
        port_heads: Arc::default(),
    });
    loop {
        let (stream, permit) = tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => return,
            accepted = listener.accept(&served.port.limit) => accepted,
        };
        let (served, service) = (served.clone(), service.clone());
        detcd_rt::spawn(served.connection(stream, permit, service, stopping.clone()));
    }
}

/// What the connections of a listener share.
struct Served {
    port: Port,
    security: Security,
    address: LocalAddress,
    lines: RepeatedLines,
    builder: auto::Builder<TokioExecutor>,
    /// What the heads of requests hold together.
    port_heads: Arc<AtomicUsize>,
}

impl Served {
    async fn connection<S>(
        self: Arc<Self>,
        stream: Stream,
        // Held until the connection has ended.
        _permit: ConnectionPermit,
        service: S,
        mut stopping: watch::Receiver<bool>,
    ) where
        S: Service<::http::Request<Incoming>, Response = Reply, Error = Infallible>,
        S: Send + 'static,
        S::Future: Send + 'static,
    {
        let Port {
            tuning,
            limit,
            traffic,
        } = &self.port;
        let timeout = tuning.first_bytes_timeout;
        let opened = async {
            match limit.hears(&stream, timeout).await {
                true => self.open(stream).await,
                false => None,
            }
        };
        let opened = tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => None,
            opened = opened => opened,
        };
        let Some(Secured { stream, peer }) = opened else {
            return;
        };
        let heads = Arc::new(Heads::new(Arc::clone(&self.port_heads)));
        let service = Bounded {
            service,
            heads: heads.clone(),
            peer,
            is_tls: matches!(stream, Stream::Tls(_)),
            takeover: Takeover::default(),
        };
        let (io, writes) = BatchedStream::new(stream, traffic.clone());
        let io = Filtered::new(io, FirstBytes::within(timeout));
        let builder = self.builder.clone();
        if tuning.normalizes {
            let io = Filtered::new(io, NormalizingFilter::new(heads));
            connection(builder, io, writes, service, stopping).await;
        } else {
            connection(builder, io, writes, service, stopping).await;
        }
    }
}

impl Served {
    /// Takes the handshake, and tells of one that came to nothing.
    async fn open(&self, stream: Stream) -> Option<Secured> {
        if let Security::Plain = self.security {
            return Some(Secured { stream, peer: None });
        }
        let remote_addr = stream.peer_address().map(|address| address.to_string());
        match self.security.open(stream).await {
            Ok(secured) => Some(secured),
            // As of plain connections, this is the client's business.
            Err(HandshakeError::Ended(_)) => None,
            Err(error) => {
                if let Some(left_out) = self.lines.take(error.kind(), Instant::now()) {
                    tracing::warn!(
                        remote_addr,
                        listen_address = %self.address,
                        %error,
                        left_out,
                        "rejected connection"
                    );
                }
                None
            }
        }
    }
}

/// Serves one connection to its end. How it ends is the client's business: garbage, resets and
/// silence are no news.
async fn connection<T, S>(
    builder: auto::Builder<TokioExecutor>,
    io: T,
    writes: PendingWrites,
    service: Bounded<S>,
    mut stopping: watch::Receiver<bool>,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<::http::Request<Incoming>, Response = Reply, Error = Infallible>,
    S: Send + 'static,
    S::Future: Send + 'static,
{
    let (heads, takeover) = (service.heads.clone(), service.takeover.clone());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let has_ended = tokio::select! {
        biased;
        ended = poll_fn(|context| {
            heads.polled();
            writes.poll(connection.as_mut(), context)
        }) => {
            if let Err(error) = ended {
                tracing::debug!(error = %error, "connection ended");
            }
            true
        }
        _ = stopping.wait_for(|stop| *stop) => false,
    };
    if has_ended {
        if let Some(mut speaker) = takeover.take() {
            let mut speaker = Pin::new(&mut speaker);
            let spoken = poll_fn(|context| writes.poll(speaker.as_mut(), context));
            tokio::select! {
                biased;
                () = spoken => {}
                _ = stopping.wait_for(|stop| *stop) => {}
            }
        }
        return;
    }
    connection.as_mut().graceful_shutdown();
    // What has not ended by then is cut off with the connection.
    let rest = poll_fn(|context| {
        heads.polled();
        writes.poll(connection.as_mut(), context)
    });
    let _ = detcd_rt::timeout(DRAIN_TIMEOUT, rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use detcd_net::Address;
    use std::net::SocketAddr;
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
    fn serve(first_bytes_timeout: Duration) -> Listening {
        serve_some(first_bytes_timeout, usize::MAX)
    }

    fn serve_some(first_bytes_timeout: Duration, limit: usize) -> Listening {
        let address = Address::tcp("127.0.0.1:0");
        let tuning = Tuning {
            first_bytes_timeout,
            head_bytes_max: HEAD_BYTES_MAX,
            normalizes: true,
            max_concurrent_streams: u32::MAX,
            keepalive_interval: None,
            keepalive_timeout: Duration::from_secs(20),
        };
        let service = hyper::service::service_fn(|_| async {
            Ok::<_, Infallible>(::http::Response::new(tonic::body::Body::empty()))
        });
        let port = Port {
            tuning,
            limit: ConnectionLimit::new("test", limit),
            traffic: None,
        };
        port.serve(Listener::bind(&address, false).unwrap(), service)
    }

    fn address_of(listening: &Listening) -> SocketAddr {
        match listening.address() {
            LocalAddress::Tcp(address) => *address,
            LocalAddress::Unix(path) => panic!("{}", path.display()),
        }
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
        let mut socket = TcpStream::connect(address_of(&listening)).await.unwrap();
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
        let address = address_of(&listening);
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
        let address = address_of(&listening);
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
            let mut stream = TcpStream::connect(address_of(&listening)).await.unwrap();
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
        let address = address_of(&listening);
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
