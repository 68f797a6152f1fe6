//! The socket that h2 reads from.

use super::bounded::Heads;
use super::normalizer::Normalizer;
use futures::future::BoxFuture;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a client may take to send a header block that it has begun.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// Memory that is kept for the next bytes to be handed on.
const READY_BYTES_KEPT: usize = 16 * 1024;

/// A socket whose header blocks are such that h2 takes them.
pub(crate) struct Normalized<S> {
    socket: S,
    normalizer: Normalizer,
    /// How much of what is ready was handed on.
    given: usize,
    heads: Arc<Heads>,
    /// Runs while a header block has begun that is not whole.
    deadline: Option<BoxFuture<'static, ()>>,
    block_timeout: Duration,
}

impl<S> Normalized<S> {
    pub fn new(socket: S, heads: Arc<Heads>) -> Normalized<S> {
        Normalized {
            socket,
            normalizer: Normalizer::default(),
            given: 0,
            heads,
            deadline: None,
            block_timeout: BLOCK_TIMEOUT,
        }
    }

    /// Hands on what is ready. Whether there was anything.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let ready = &mut self.normalizer.ready;
        let part = buffer.remaining().min(ready.len() - self.given);
        buffer.put_slice(&ready[self.given..self.given + part]);
        self.given += part;
        if self.given == ready.len() {
            self.given = 0;
            ready.clear();
            ready.shrink_to(READY_BYTES_KEPT);
        }
        if part > 0 {
            self.deadline = None;
        }
        part > 0
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Normalized<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // What has arrived becomes requests first, which can be refused.
        ready!(this.heads.poll_room(context));
        loop {
            if this.give(buffer) || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if this.normalizer.waits() {
                this.normalizer.go_on()?;
                this.heads.arrived(&mut this.normalizer.lists_size);
                if !this.normalizer.ready.is_empty() {
                    continue;
                }
            }
            let before = buffer.filled().len();
            match Pin::new(&mut this.socket).poll_read(context, buffer) {
                Poll::Ready(result) => result?,
                Poll::Pending if this.normalizer.waits() => {
                    let timeout = this.block_timeout;
                    let deadline = this
                        .deadline
                        .get_or_insert_with(|| Box::pin(detcd_rt::sleep(timeout)));
                    ready!(deadline.as_mut().poll(context));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending => {
                    this.deadline = None;
                    return Poll::Pending;
                }
            }
            let arrived = &buffer.filled()[before..];
            if arrived.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let passed = this.normalizer.take(arrived)?;
            this.heads.arrived(&mut this.normalizer.lists_size);
            buffer.set_filled(before + passed);
            if passed > 0 {
                this.deadline = None;
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Normalized<S> {
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_header_block_that_is_not_whole_ends_the_connection_after_a_time() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let begun = [&preface[..], &[0, 0, 9, 1, 0, 0, 0, 0, 1, 0x82]].concat();
        for (sent, ends) in [(&preface[..], false), (&begun, true)] {
            let (mut client, server) = tokio::io::duplex(1024);
            let mut server = Normalized::new(server, Arc::default());
            server.block_timeout = Duration::from_millis(10);
            client.write_all(sent).await.unwrap();
            let mut found = Vec::new();
            let read = server.read_to_end(&mut found);
            // Without a block there is no deadline that could pass.
            let limit = Duration::from_millis(if ends { 20_000 } else { 50 });
            let read = detcd_rt::timeout(limit, read).await;
            let timed_out =
                read.is_ok_and(|read| read.unwrap_err().kind() == io::ErrorKind::TimedOut);
            assert_eq!(timed_out, ends);
            assert_eq!(found, preface);
        }
    }
}
