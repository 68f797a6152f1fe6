//! What h2 reads of a connection.

use super::bounded::Heads;
use super::normalizer::Normalizer;
use detcd_net::ReadFilter;
use futures::future::BoxFuture;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};

/// What a client may take to send a header block that it has begun.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// Memory that is kept for the next bytes to be handed on.
const READY_BYTES_KEPT: usize = 16 * 1024;

/// Lets pass what arrives on a connection such that h2 takes its header blocks.
pub(crate) struct NormalizingFilter {
    normalizer: Normalizer,
    /// How much of what is ready was handed on.
    given: usize,
    heads: Arc<Heads>,
    /// Runs while a header block has begun that is not whole.
    deadline: Option<BoxFuture<'static, ()>>,
    block_timeout: Duration,
}

impl NormalizingFilter {
    pub fn new(heads: Arc<Heads>) -> NormalizingFilter {
        NormalizingFilter {
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

impl<S: AsyncRead + Unpin> ReadFilter<S> for NormalizingFilter {
    fn poll_read(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // What has arrived becomes requests first, which can be refused.
        ready!(self.heads.poll_room(context));
        loop {
            if self.give(buffer) || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if self.normalizer.waits() {
                self.normalizer.go_on()?;
                self.heads.arrived(&mut self.normalizer.lists_size);
                if !self.normalizer.ready.is_empty() {
                    continue;
                }
            }
            let before = buffer.filled().len();
            match Pin::new(&mut *stream).poll_read(context, buffer) {
                Poll::Ready(result) => result?,
                Poll::Pending if self.normalizer.waits() => {
                    let timeout = self.block_timeout;
                    let deadline = self
                        .deadline
                        .get_or_insert_with(|| Box::pin(detcd_rt::sleep(timeout)));
                    ready!(deadline.as_mut().poll(context));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending => {
                    self.deadline = None;
                    return Poll::Pending;
                }
            }
            let arrived = &buffer.filled()[before..];
            if arrived.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let passed = self.normalizer.take(arrived)?;
            self.heads.arrived(&mut self.normalizer.lists_size);
            buffer.set_filled(before + passed);
            if passed > 0 {
                self.deadline = None;
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use detcd_net::Filtered;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_header_block_that_is_not_whole_ends_the_connection_after_a_time() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let begun = [&preface[..], &[0, 0, 9, 1, 0, 0, 0, 0, 1, 0x82]].concat();
        for (sent, ends) in [(&preface[..], false), (&begun, true)] {
            let (mut client, server) = tokio::io::duplex(1024);
            let mut filter = NormalizingFilter::new(Arc::default());
            filter.block_timeout = Duration::from_millis(10);
            let mut server = Filtered::new(server, filter);
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
