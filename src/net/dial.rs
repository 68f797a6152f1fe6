//! Connections to others.

use crate::address::{Address, Place};
use crate::limits::NEXT_ADDRESS_DELAY;
use crate::stream::{Stream, probe};
use crate::tls::{Alpn, TlsClient};
use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream, lookup_host};

/// Dials addresses, each within a time.
#[derive(Clone, Debug)]
pub struct Dialer {
    timeout: Duration,
    tls: Option<Arc<TlsClient>>,
    alpn: Alpn,
    /// How long the other side may leave untaken what was sent.
    write_timeout: Option<Duration>,
}

impl Dialer {
    pub fn within(timeout: Duration) -> Dialer {
        Dialer {
            timeout,
            tls: None,
            alpn: Alpn::Http2,
            write_timeout: None,
        }
    }

    /// With what to speak TLS. Without it, only plain addresses are dialed.
    pub fn with_tls(self, tls: Option<Arc<TlsClient>>) -> Dialer {
        Dialer { tls, ..self }
    }

    /// What is to be spoken over TLS: HTTP/2 if nobody says otherwise.
    pub fn speaking(self, alpn: Alpn) -> Dialer {
        Dialer { alpn, ..self }
    }

    /// Ends TCP connections whose other side leaves untaken for so long what was sent.
    pub fn with_write_timeout(self, write_timeout: Option<Duration>) -> Dialer {
        Dialer {
            write_timeout,
            ..self
        }
    }

    pub async fn dial(&self, address: &Address) -> io::Result<Stream> {
        let dialed = async {
            let stream = match &address.place {
                Place::Tcp(address) => dial_tcp(address).await?,
                Place::Unix(path) => Stream::Unix(UnixStream::connect(path).await?),
            };
            if let (Stream::Tcp(stream), Some(timeout)) = (&stream, self.write_timeout) {
                let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
                sockopt::set_tcp_user_timeout(stream, millis)?;
            }
            match (&self.tls, address.is_tls) {
                (_, false) => Ok(stream),
                (Some(tls), true) => tls.connect(stream, address, self.alpn).await,
                (None, true) => {
                    let text = format!("{address} speaks TLS, and nothing is set up to speak it");
                    Err(io::Error::new(io::ErrorKind::Unsupported, text))
                }
            }
        };
        match detcd_rt::timeout(self.timeout, dialed).await {
            Ok(dialed) => dialed,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Dials the addresses of a host one after the other, and the next one beside the one before if
/// that takes long: an address that swallows packets holds up nothing.
async fn dial_tcp(address: &str) -> io::Result<Stream> {
    let mut left = lookup_host(address).await?;
    let mut dials = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    loop {
        let next = left.next();
        let is_last = next.is_none();
        dials.extend(next.map(|address| Box::pin(dial_one(address))));
        let delay = match is_last {
            true => std::future::pending().boxed(),
            false => detcd_rt::sleep(NEXT_ADDRESS_DELAY).boxed(),
        };
        tokio::select! {
            biased;
            dialed = dials.next() => match dialed {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failure = error,
                None => return Err(failure),
            },
            () = delay => {}
        }
    }
}

async fn dial_one(address: SocketAddr) -> io::Result<Stream> {
    let stream = TcpStream::connect(address).await?;
    probe(&stream)?;
    Ok(Stream::tcp(stream))
}

/// Dials one address for a client of tonic, whatever URI that client names.
#[derive(Clone, Debug)]
pub struct Connector {
    dialer: Dialer,
    address: Address,
}

impl Connector {
    pub fn new(dialer: Dialer, address: Address) -> Connector {
        Connector { dialer, address }
    }
}

impl tower_service::Service<http::Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<Stream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let Connector { dialer, address } = self.clone();
        async move { dialer.dial(&address).await.map(TokioIo::new) }.boxed()
    }
}
