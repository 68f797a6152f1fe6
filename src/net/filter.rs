//! A stream whose incoming bytes pass a filter, and whose outgoing bytes do not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Decides what is read from a stream.
pub trait ReadFilter<S>: Unpin {
    /// As [`AsyncRead::poll_read`]; what `stream` gives may be changed, held back or only looked at.
    fn poll_read(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>;
}

/// A stream with a filter before its reader.
pub struct Filtered<S, F> {
    stream: S,
    filter: F,
}

impl<S, F> Filtered<S, F> {
    pub fn new(stream: S, filter: F) -> Filtered<S, F> {
        Filtered { stream, filter }
    }
}

impl<S: AsyncRead + Unpin, F: ReadFilter<S>> AsyncRead for Filtered<S, F> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Filtered { stream, filter } = self.get_mut();
        filter.poll_read(stream, context, buffer)
    }
}

impl<S: AsyncWrite + Unpin, F: Unpin> AsyncWrite for Filtered<S, F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
