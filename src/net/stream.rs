//! A connection.

use rustix::net::{RecvFlags, recv, sockopt};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::limits::PROBE_PERIOD;
use crate::tls::late_alert;

/// A connection to another process.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<tokio_rustls::TlsStream<Stream>>),
}

impl Stream {
    /// A TCP connection on which small messages do not wait for acknowledgements.
    pub(crate) fn tcp(stream: TcpStream) -> Stream {
        // A connection that has ended already says so when it is used.
        let _ = stream.set_nodelay(true);
        Stream::Tcp(stream)
    }

    /// Waits until there is something to read, or the end, and reads nothing.
    pub async fn wait_for_bytes(&self) -> io::Result<()> {
        self.first_byte().await.map(drop)
    }

    /// The next byte of the socket, or `None` at its end. It stays to be read.
    pub(crate) async fn first_byte(&self) -> io::Result<Option<u8>> {
        // Readiness alone may be reported without anything to read.
        match self.socket() {
            Stream::Tcp(stream) => stream.async_io(Interest::READABLE, || peek(stream)).await,
            Stream::Unix(stream) => stream.async_io(Interest::READABLE, || peek(stream)).await,
            Stream::Tls(_) => unreachable!("a socket is below"),
        }
    }

    /// Who is on the other side, if it has an address.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        match self.socket() {
            Stream::Tcp(stream) => stream.peer_addr().ok(),
            _ => None,
        }
    }

    /// What stands below TLS.
    fn socket(&self) -> &Stream {
        match self {
            Stream::Tls(stream) => stream.get_ref().0.socket(),
            socket => socket,
        }
    }
}

fn peek(socket: impl AsFd) -> io::Result<Option<u8>> {
    let mut byte = [0_u8; 1];
    let (_, length) = recv(socket, &mut byte, RecvFlags::PEEK)?;
    Ok((length > 0).then_some(byte[0]))
}

/// Lets the kernel find out which processes have vanished without a word. Connections inherit it
/// from their listener.
pub(crate) fn probe(socket: impl AsFd) -> io::Result<()> {
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, PROBE_PERIOD)?;
    sockopt::set_tcp_keepintvl(&socket, PROBE_PERIOD)?;
    Ok(())
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => {
                let read = ready!(Pin::new(&mut **stream).poll_read(context, buffer));
                Poll::Ready(read.or_else(unless_ended))
            }
        }
    }
}

/// Many do not say that they end a connection. HTTP has its own ways to tell that something is
/// missing.
fn unless_ended(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Ok(()),
        _ => Err(late_alert(error)),
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(context),
        }
    }
}
