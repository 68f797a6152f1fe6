//! A socket that takes connections.

use crate::address::Address;
use crate::bind::{self, BindError, SocketFile};
use crate::limit::{ConnectionLimit, ConnectionPermit};
use crate::limits::ACCEPT_PAUSE;
use crate::stream::Stream;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::{TcpListener, UnixListener};

/// A bound socket. Dropped, it is closed, and its file is removed if it has one.
pub struct Listener {
    socket: Socket,
    address: LocalAddress,
    file: Option<SocketFile>,
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
    /// Listens where `url` leads.
    pub fn bind_url(url: &str, reuse_port: bool) -> Result<Listener, BindError> {
        let address = Address::of_url(url);
        let address = address.map_err(|error| BindError::of_url(url, &error))?;
        Listener::bind(&address, reuse_port)
    }

    /// Listens at `address`; port 0 takes a free one. Must run within the runtime.
    pub fn bind(address: &Address, reuse_port: bool) -> Result<Listener, BindError> {
        let failed = |error: io::Error| BindError::of(address, &error);
        match address {
            Address::Tcp(text) => {
                let bound = bind::tcp(text, reuse_port);
                let no_host = || BindError::new(address, "no such host".to_owned());
                let socket = bound.ok_or_else(no_host)?.map_err(failed)?;
                let address = LocalAddress::Tcp(socket.local_addr().map_err(failed)?);
                let socket = Socket::Tcp(socket);
                Ok(Listener {
                    socket,
                    address,
                    file: None,
                })
            }
            Address::Unix(path) => {
                let (socket, file) = bind::unix(path).map_err(failed)?;
                Ok(Listener {
                    socket: Socket::Unix(socket),
                    address: LocalAddress::Unix(path.clone()),
                    file: Some(file),
                })
            }
        }
    }

    pub fn address(&self) -> &LocalAddress {
        &self.address
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
                    tracing::warn!(%error, "cannot accept a connection");
                    detcd_rt::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
