//! Connections to the cluster's endpoints. All are dialed at once, and one is connected once it has
//! sent its HTTP/2 settings, as in etcd's client: whoever merely accepts (a stopped process, a port
//! that speaks something else) holds up nothing.

use detcd_rt as rt;
use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::future::{BoxFuture, ready};
use futures::stream::FuturesUnordered;
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// How long a peer may take to send its settings (grpc's minimum connect timeout).
const HANDSHAKE_MAX: Duration = Duration::from_secs(20);
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A frame's header: three bytes of length, then the type.
const FRAME_TYPE_AT: usize = 3;
const FRAME_TYPE_SETTINGS: u8 = 4;

/// When a silent connection is asked whether it lives, and how long it may take to answer.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    pub time: Duration,
    pub timeout: Duration,
}

/// The endpoints that are being dialed.
pub struct Dials {
    keepalive: Keepalive,
    dials: FuturesUnordered<BoxFuture<'static, Connected>>,
}

/// An endpoint that has sent its HTTP/2 settings.
pub struct Connected {
    pub endpoint: String,
    pub channel: Channel,
}

impl Dials {
    pub fn new(endpoints: &[String], keepalive: Keepalive) -> Dials {
        let mut dials = Dials {
            keepalive,
            dials: FuturesUnordered::new(),
        };
        for endpoint in endpoints {
            dials.dial(endpoint.clone(), Duration::ZERO);
        }
        dials
    }

    /// The next endpoint to be connected. Waits as long as there is none.
    pub async fn next(&mut self) -> Connected {
        match self.dials.next().await {
            Some(connected) => connected,
            None => std::future::pending().await,
        }
    }

    /// Dials an endpoint anew that is of no use now; others get a moment to come first.
    pub fn again(&mut self, endpoint: String) {
        self.dial(endpoint, PAUSE_MIN);
    }

    fn dial(&mut self, endpoint: String, pause: Duration) {
        self.dials
            .push(dial(endpoint, self.keepalive, pause).boxed());
    }
}

/// Tries until the endpoint is connected.
async fn dial(endpoint: String, keepalive: Keepalive, mut pause: Duration) -> Connected {
    let Some((address, settings)) = settings(&endpoint, keepalive) else {
        // Nothing can be dialed: the command ends at its time limit, as etcdctl's does.
        return std::future::pending().await;
    };
    loop {
        rt::sleep(pause).await;
        let attempt = rt::timeout(HANDSHAKE_MAX, connect(&address, &settings));
        if let Ok(Ok(channel)) = attempt.await {
            return Connected { endpoint, channel };
        }
        pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
    }
}

/// The address of an endpoint, and how a connection to it is to be kept.
fn settings(endpoint: &str, keepalive: Keepalive) -> Option<(String, Endpoint)> {
    let address = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, address)| address);
    let address = address.trim_end_matches('/');
    // A host without a port is no endpoint; a URI would silently take port 80.
    address
        .rsplit_once(':')
        .filter(|(_, port)| port.parse::<u16>().is_ok())?;
    let settings = Endpoint::from_shared(format!("http://{address}"))
        .ok()?
        .http2_keep_alive_interval(keepalive.time)
        .keep_alive_timeout(keepalive.timeout);
    Some((address.to_owned(), settings))
}

async fn connect(
    address: &str,
    settings: &Endpoint,
) -> Result<Channel, Box<dyn std::error::Error + Send + Sync>> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let (sent, greeted) = oneshot::channel();
    let mut socket = Some(TokioIo::new(GreetedSocket {
        socket,
        greeting: Some(Greeting { seen: 0, sent }),
    }));
    // One connection each: its end is news for the client, which turns to another endpoint.
    let connector = tower::service_fn(move |_| ready(socket.take().ok_or(ConnectionEnded)));
    let channel = settings.connect_with_connector(connector).await?;
    greeted.await?;
    Ok(channel)
}

/// A request met a connection that had ended: it was not sent.
#[derive(Clone, Copy, Debug, Error)]
#[error("the connection has ended")]
struct ConnectionEnded;

/// Whether the request that failed so was certainly never sent.
pub fn was_not_sent(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let is_canceled = error
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_canceled);
        if is_canceled || error.is::<ConnectionEnded>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A socket that tells when the peer's first frame turns out to be its HTTP/2 settings. Its end,
/// or anything else, drops the sender.
struct GreetedSocket {
    socket: TcpStream,
    greeting: Option<Greeting>,
}

struct Greeting {
    /// Bytes of the first frame's header that have come.
    seen: usize,
    sent: oneshot::Sender<()>,
}

impl Greeting {
    /// Takes in what came; `None` once it is decided.
    fn read(mut self, bytes: &[u8]) -> Option<Greeting> {
        let Some(kind) = bytes.get(FRAME_TYPE_AT - self.seen) else {
            self.seen += bytes.len();
            return Some(self);
        };
        if *kind == FRAME_TYPE_SETTINGS {
            // Whoever waited may have given up.
            let _ = self.sent.send(());
        }
        None
    }
}

impl AsyncRead for GreetedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = read
            && let Some(greeting) = self.greeting.take()
        {
            self.greeting = greeting.read(&buffer.filled()[before..]);
        }
        read
    }
}

impl AsyncWrite for GreetedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greets(chunks: &[&[u8]]) -> bool {
        let (sent, mut greeted) = oneshot::channel();
        let mut greeting = Some(Greeting { seen: 0, sent });
        for chunk in chunks {
            greeting = greeting.and_then(|greeting| greeting.read(chunk));
        }
        drop(greeting);
        greeted.try_recv().is_ok()
    }

    #[test]
    fn settings_are_known_by_the_type_of_the_first_frame() {
        assert!(greets(&[&[0, 0, 6, 4, 0, 0, 0, 0, 0]]));
        assert!(greets(&[&[0], &[0, 6], &[], &[4, 0]]));
        assert!(!greets(&[b"HTTP/1.1 400 Bad Request\r\n\r\n"]));
        assert!(!greets(&[&[0, 0, 8, 7, 0, 0, 0, 0, 0], &[0, 0, 6, 4]]));
        assert!(!greets(&[&[0, 0, 6]]));
        assert!(!greets(&[]));
    }

    #[test]
    fn endpoints_need_a_port() {
        let keepalive = Keepalive {
            time: PAUSE_MAX,
            timeout: PAUSE_MAX,
        };
        let address = |endpoint| settings(endpoint, keepalive).map(|(address, _)| address);
        assert_eq!(address("http://a:1/"), Some("a:1".to_owned()));
        assert_eq!(address("[::1]:2"), Some("[::1]:2".to_owned()));
        assert_eq!(address("a"), None);
        assert_eq!(address("http://a"), None);
    }
}
