//! Connections to the cluster's endpoints. All are dialed at once, and one is connected once it has
//! sent its HTTP/2 settings, as in etcd's client: whoever merely accepts (a stopped process, a port
//! that speaks something else) holds up nothing.

use super::secure::Secure;
use detcd_net::limits::CLIENT_DIAL_TIMEOUT;
use detcd_net::{Address, Dialer, Filtered, ReadFilter, Stream};
use detcd_rt as rt;
use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::future::{BoxFuture, ready};
use futures::stream::FuturesUnordered;
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::sync::oneshot;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A frame's header: three bytes of length, then the type.
const FRAME_TYPE_AT: usize = 3;
const FRAME_TYPE_SETTINGS: u8 = 4;
/// What ports with TLS tell plain clients, Go's HTTP server's among them.
const SPEAKS_TLS: &[u8] = b"HTTP request to an HTTPS server";

/// When a silent connection is asked whether it lives, and how long it may take to answer.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    pub time: Duration,
    pub timeout: Duration,
}

/// The endpoints that are being dialed.
pub struct Dials {
    keepalive: Keepalive,
    secure: Secure,
    problem: Problem,
    dials: FuturesUnordered<BoxFuture<'static, Connected>>,
}

/// Why an endpoint was reached and yet is not connected, as it was found last.
#[derive(Clone, Default)]
struct Problem(Arc<Mutex<Option<String>>>);

impl Problem {
    fn slot(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An endpoint that has sent its HTTP/2 settings.
pub struct Connected {
    pub endpoint: String,
    pub channel: Channel,
}

impl Dials {
    pub fn new(endpoints: &[String], keepalive: Keepalive, secure: &Secure) -> Dials {
        let mut dials = Dials {
            keepalive,
            secure: secure.clone(),
            problem: Problem::default(),
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

    /// What keeps endpoints from being connected that can be reached.
    pub fn problem(&self) -> Option<String> {
        self.problem.slot().clone()
    }

    /// Dials an endpoint anew that is of no use now; others get a moment to come first.
    pub fn again(&mut self, endpoint: String) {
        self.dial(endpoint, PAUSE_MIN);
    }

    fn dial(&mut self, endpoint: String, pause: Duration) {
        let (secure, problem) = (self.secure.clone(), self.problem.clone());
        let dial = dial(endpoint, self.keepalive, secure, problem, pause);
        self.dials.push(dial.boxed());
    }
}

/// Tries until the endpoint is connected.
async fn dial(
    endpoint: String,
    keepalive: Keepalive,
    secure: Secure,
    problem: Problem,
    mut pause: Duration,
) -> Connected {
    let Some((address, settings)) = settings(&endpoint, keepalive, &secure) else {
        // Nothing can be dialed: the command ends at its time limit, as etcdctl's does.
        return std::future::pending().await;
    };
    loop {
        rt::sleep(pause).await;
        let attempt = connect(&address, &settings, &secure);
        match rt::timeout(CLIENT_DIAL_TIMEOUT, attempt).await {
            Ok(Ok(channel)) => return Connected { endpoint, channel },
            Ok(Err(NotConnected::Reached(why))) => *problem.slot() = Some(why),
            Ok(Err(NotConnected::Unreachable)) | Err(_) => {}
        }
        pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
    }
}

/// The address of an endpoint, and how a connection to it is to be kept.
fn settings(endpoint: &str, keepalive: Keepalive, secure: &Secure) -> Option<(Address, Endpoint)> {
    let address = secure.address(endpoint)?;
    let settings = Endpoint::from_shared(format!("http://{}", address.authority()))
        .ok()?
        .http2_keep_alive_interval(keepalive.time)
        .keep_alive_timeout(keepalive.timeout);
    Some((address, settings))
}

/// Why there is no connection.
enum NotConnected {
    Unreachable,
    /// Somebody is there, and says or refuses something.
    Reached(String),
}

async fn connect(
    address: &Address,
    settings: &Endpoint,
    secure: &Secure,
) -> Result<Channel, NotConnected> {
    let dialer = Dialer::within(CLIENT_DIAL_TIMEOUT).with_tls(secure.client());
    let stream = match dialer.dial(address).await {
        Ok(stream) => stream,
        Err(error) if address.is_tls && error.kind() == io::ErrorKind::InvalidData => {
            return Err(NotConnected::Reached(error.to_string()));
        }
        Err(_) => return Err(NotConnected::Unreachable),
    };
    let (sent, settings_seen) = oneshot::channel();
    let filter = AwaitsSettings(Some(FirstFrame { seen: 0, sent }));
    let mut stream = Some(TokioIo::new(Filtered::new(stream, filter)));
    // One connection each: its end is news for the client, which turns to another endpoint.
    let connector = tower::service_fn(move |_| ready(stream.take().ok_or(ConnectionEnded)));
    let connected = settings.connect_with_connector(connector).await;
    let channel = connected.map_err(|_| NotConnected::Unreachable)?;
    match settings_seen.await {
        Ok(Ok(())) => Ok(channel),
        Ok(Err(problem)) => Err(NotConnected::Reached(format!("{address}: {problem}"))),
        Err(_) => Err(NotConnected::Unreachable),
    }
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

/// Tells when the server's first frame turns out to be its HTTP/2 settings, or that it wants TLS. The
/// end of the connection, or anything else, drops the sender.
struct AwaitsSettings(Option<FirstFrame>);

struct FirstFrame {
    /// Bytes of the frame's header that have come.
    seen: usize,
    sent: oneshot::Sender<Result<(), String>>,
}

impl FirstFrame {
    /// Takes in what came; `None` once it is decided.
    fn read(mut self, bytes: &[u8]) -> Option<FirstFrame> {
        let Some(kind) = bytes.get(FRAME_TYPE_AT - self.seen) else {
            self.seen += bytes.len();
            return Some(self);
        };
        let told = match *kind {
            FRAME_TYPE_SETTINGS => Ok(()),
            _ if contains(bytes, SPEAKS_TLS) => {
                Err("it speaks TLS: use https:// for it".to_owned())
            }
            _ => return None,
        };
        // Whoever waited may have given up.
        let _ = self.sent.send(told);
        None
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

impl ReadFilter<Stream> for AwaitsSettings {
    fn poll_read(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(stream).poll_read(context, buffer);
        match &read {
            Poll::Ready(Ok(())) => {
                let frame = self.0.take();
                self.0 = frame.and_then(|frame| frame.read(&buffer.filled()[before..]));
            }
            // What TLS tells of after its handshake.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {
                if let Some(frame) = self.0.take() {
                    // Whoever waited may have given up.
                    let _ = frame.sent.send(Err(error.to_string()));
                }
            }
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_settings(chunks: &[&[u8]]) -> bool {
        let (sent, mut settings_seen) = oneshot::channel();
        let mut frame = Some(FirstFrame { seen: 0, sent });
        for chunk in chunks {
            frame = frame.and_then(|frame| frame.read(chunk));
        }
        drop(frame);
        matches!(settings_seen.try_recv(), Ok(Ok(())))
    }

    #[test]
    fn settings_are_known_by_the_type_of_the_first_frame() {
        assert!(has_settings(&[&[0, 0, 6, 4, 0, 0, 0, 0, 0]]));
        assert!(has_settings(&[&[0], &[0, 6], &[], &[4, 0]]));
        assert!(!has_settings(&[b"HTTP/1.1 400 Bad Request\r\n\r\n"]));
        assert!(!has_settings(&[
            &[0, 0, 8, 7, 0, 0, 0, 0, 0],
            &[0, 0, 6, 4]
        ]));
        assert!(!has_settings(&[&[0, 0, 6]]));
        assert!(!has_settings(&[]));
    }

    #[test]
    fn endpoints_need_a_port_or_a_path() {
        let keepalive = Keepalive {
            time: PAUSE_MAX,
            timeout: PAUSE_MAX,
        };
        let address = |endpoint| {
            settings(endpoint, keepalive, &Secure::default())
                .map(|(address, _)| address.to_string())
        };
        assert_eq!(address("http://a:1/"), Some("a:1".to_owned()));
        assert_eq!(address("[::1]:2"), Some("[::1]:2".to_owned()));
        assert_eq!(address("unix://a:1"), Some("unix:a:1".to_owned()));
        assert_eq!(address("a"), None);
        assert_eq!(address("http://a"), None);
    }
}
