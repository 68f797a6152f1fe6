//! A socket that takes connections.

use crate::address::{Address, Place};
use crate::bind::{self, BindError, SocketFile};
use crate::limit::{ConnectionLimit, ConnectionPermit};
use crate::limits::ACCEPT_PAUSE;
use crate::stream::Stream;
use crate::tls::Security;
use detcd_rt::{Instant, RepeatedLines};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::{TcpListener, UnixListener};

/// A bound socket. Dropped, it is closed, and its file is removed if it has one.
pub struct Listener {
    socket: Socket,
    security: Security,
    address: LocalAddress,
    file: Option<SocketFile>,
    lines: RepeatedLines,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalAddress::Tcp(address) => address.fmt(f),
            LocalAddress::Unix(path) => path.display().fmt(f),
        }
    }
}

impl Listener {
    /// Listens where `url` leads. Connections begin as [`Listener::with_security`] says.
    pub fn bind_url(url: &str, reuse_port: bool) -> Result<Listener, BindError> {
        let address = Address::of_url(url);
        let address = address.map_err(|error| BindError::of_url(url, &error))?;
        Listener::bind(&address, reuse_port)
    }

    /// Listens at `address`; port 0 takes a free one. Must run within the runtime.
    pub fn bind(address: &Address, reuse_port: bool) -> Result<Listener, BindError> {
        let failed = |error: io::Error| BindError::of(address, &error);
        let (socket, local, file) = match &address.place {
            Place::Tcp(text) => {
                let no_host = || BindError::new(address, "no such host".to_owned());
                let bound = bind::tcp(text, reuse_port).ok_or_else(no_host)?;
                let socket = bound.map_err(failed)?;
                let local = LocalAddress::Tcp(socket.local_addr().map_err(failed)?);
                (Socket::Tcp(socket), local, None)
            }
            Place::Unix(path) => {
                let (socket, file) = bind::unix(path).map_err(failed)?;
                let local = LocalAddress::Unix(path.clone());
                (Socket::Unix(socket), local, Some(file))
            }
        };
        Ok(Listener {
            socket,
            security: Security::Plain,
            address: local,
            file,
            lines: RepeatedLines::default(),
        })
    }

    pub fn address(&self) -> &LocalAddress {
        &self.address
    }

    /// Has connections begin so. Without it, they are plain.
    pub fn with_security(mut self, security: Security) -> Listener {
        self.security = security;
        self
    }

    /// How a connection is to begin, in a task of its own: nobody waits for a slow client.
    pub fn security(&self) -> &Security {
        &self.security
    }

    /// The file of the socket, for an owner that stops the listener from elsewhere.
    pub fn take_file(&mut self) -> Option<SocketFile> {
        self.file.take()
    }

    /// The next connection, once `limit` has room for it.
    pub async fn accept(&self, limit: &ConnectionLimit) -> (Stream, ConnectionPermit) {
        // Before a descriptor is taken: the kernel keeps those who wait.
        let permit = limit.permit().await;
        loop {
            let accepted = match &self.socket {
                Socket::Tcp(socket) => socket.accept().await.map(|(stream, _)| Stream::tcp(stream)),
                Socket::Unix(socket) => {
                    let accepted = socket.accept().await;
                    accepted.map(|(stream, _)| Stream::Unix(stream))
                }
            };
            match accepted {
                Ok(stream) => return (stream, permit),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if let Some(left_out) = self.lines.take("accept", Instant::now()) {
                        tracing::warn!(%error, left_out, "cannot accept a connection");
                    }
                    detcd_rt::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
