//! A connection.

use rustix::net::{RecvFlags, recv, sockopt};
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::limits::PROBE_PERIOD;

/// A connection to another process.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
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
        // Readiness alone may be reported without anything to read.
        match self {
            Stream::Tcp(stream) => stream.async_io(Interest::READABLE, || peek(stream)).await,
            Stream::Unix(stream) => stream.async_io(Interest::READABLE, || peek(stream)).await,
        }
    }
}

fn peek(socket: impl AsFd) -> io::Result<()> {
    recv(socket, &mut [0_u8; 1], RecvFlags::PEEK)?;
    Ok(())
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
        }
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
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
