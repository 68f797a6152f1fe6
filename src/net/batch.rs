//! One write to the socket for all that a connection has to say at a time.
//!
//! HTTP/2 flushes whenever it has no more to send, which under load is after every single reply:
//! the task that answers wakes the connection's task, which runs before the next task answers. A
//! system call for each reply took a third of a member's time under linearizable reads. So what
//! the connection writes is kept here, and goes out at the end of its poll, after the other tasks
//! that are ready had their turn to add to it.

use crate::stream::Stream;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are kept at most. What comes then waits until the socket has taken them.
const BATCH_BYTES_MAX: usize = 64 * 1024;
/// A write of this length is worth a system call of its own, and is not copied.
const LARGE_BYTES: usize = 16 * 1024;

/// Counts the bytes of connections.
pub trait Traffic: Send + Sync {
    fn received(&self, bytes: usize);
    fn sent(&self, bytes: usize);
}

/// A stream whose writes are batched. Whoever polls what stands on it does so through the
/// [`PendingWrites`] that came with it.
pub struct BatchedStream {
    // One task polls both sides of a connection, so nobody ever waits for the lock.
    inner: Arc<Mutex<Inner>>,
}

/// What was written and is not sent.
#[derive(Clone)]
pub struct PendingWrites {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    stream: Stream,
    bytes: Vec<u8>,
    /// How many of `bytes` the socket has taken.
    sent: usize,
    /// Whether the stream may hold what the socket has not taken (TLS does).
    unflushed: bool,
    /// Whether the other tasks had their turn since something was written.
    yielded: bool,
    traffic: Option<Arc<dyn Traffic>>,
}

impl BatchedStream {
    pub fn new(
        stream: Stream,
        traffic: Option<Arc<dyn Traffic>>,
    ) -> (BatchedStream, PendingWrites) {
        let inner = Arc::new(Mutex::new(Inner {
            stream,
            bytes: Vec::new(),
            sent: 0,
            unflushed: false,
            yielded: false,
            traffic,
        }));
        let writes = PendingWrites {
            inner: inner.clone(),
        };
        (BatchedStream { inner }, writes)
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PendingWrites {
    /// Polls what stands on the stream, and then sends what it wrote. A socket that fails ends the
    /// connection with the next read from it.
    pub fn poll<F: Future>(
        &self,
        connection: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<F::Output> {
        if let Poll::Ready(ended) = connection.poll(context) {
            return Poll::Ready(ended);
        }
        let mut inner = lock(&self.inner);
        if inner.bytes.is_empty() && !inner.unflushed {
            return Poll::Pending;
        }
        if !std::mem::replace(&mut inner.yielded, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        // If the socket is full, it wakes this task. If it is broken, reading says so, too.
        let _ = inner.poll_send(context);
        Poll::Pending
    }
}

impl Inner {
    /// Sends everything that is kept.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            let rest = &self.bytes[self.sent..];
            let taken = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.count_sent(taken);
            self.sent += taken;
            self.unflushed = true;
        }
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.unflushed = false;
        self.bytes.clear();
        self.sent = 0;
        self.yielded = false;
        Poll::Ready(Ok(()))
    }

    fn count_sent(&self, bytes: usize) {
        if let Some(traffic) = &self.traffic {
            traffic.sent(bytes);
        }
    }
}

impl AsyncRead for BatchedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.inner);
        let before = buffer.filled().len();
        ready!(Pin::new(&mut inner.stream).poll_read(context, buffer))?;
        if let Some(traffic) = &inner.traffic {
            traffic.received(buffer.filled().len() - before);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BatchedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut inner = lock(&self.inner);
        if inner.bytes.len() + length > BATCH_BYTES_MAX || length >= LARGE_BYTES {
            ready!(inner.poll_send(context))?;
        }
        if length >= LARGE_BYTES {
            let stream = Pin::new(&mut inner.stream);
            let taken = ready!(stream.poll_write_vectored(context, slices))?;
            inner.count_sent(taken);
            inner.unflushed |= matches!(inner.stream, Stream::Tls(_));
            return Poll::Ready(Ok(taken));
        }
        for slice in slices {
            inner.bytes.extend_from_slice(slice);
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What was written is sent at the end of the poll.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.inner);
        ready!(inner.poll_send(context))?;
        Pin::new(&mut inner.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream, UnixStream};

    async fn pairs() -> [(Stream, Stream); 2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let accepted = accepted.expect("accepted").0;
        let (one, other) = UnixStream::pair().expect("two ends");
        [
            (
                Stream::tcp(client.expect("connected")),
                Stream::tcp(accepted),
            ),
            (Stream::Unix(one), Stream::Unix(other)),
        ]
    }

    #[tokio::test]
    async fn what_is_written_arrives_in_order_whatever_its_length() {
        for (client, server) in pairs().await {
            let (mut batched, writes) = BatchedStream::new(server, None);
            let lengths = [1, 100, LARGE_BYTES - 1, LARGE_BYTES, BATCH_BYTES_MAX];
            let lengths = lengths.into_iter().chain([3, 1 << 20, 7]);
            let all: Vec<u8> = lengths
                .clone()
                .enumerate()
                .flat_map(|(i, length)| std::iter::repeat_n(i as u8, length))
                .collect();
            let expected = all.clone();
            let write = async move {
                let mut rest = &all[..];
                for length in lengths {
                    let (part, after) = rest.split_at(length);
                    batched.write_all(part).await?;
                    batched.flush().await?;
                    rest = after;
                }
                batched.shutdown().await
            };
            let mut write = Box::pin(write);
            let server = poll_fn(move |context| writes.poll(write.as_mut(), context));
            let read = async move {
                let (mut client, mut found) = (client, Vec::new());
                client.read_to_end(&mut found).await.map(|_| found)
            };
            let (written, found) = tokio::join!(server, read);
            written.expect("everything was written");
            assert!(found.expect("everything was read") == expected);
        }
    }

    #[tokio::test]
    async fn several_writes_arrive_together_and_without_a_flush() {
        for (mut client, server) in pairs().await {
            let (mut batched, writes) = BatchedStream::new(server, None);
            let silent = async move {
                for part in [b"a", b"b", b"c"] {
                    batched.write_all(part).await.expect("it is kept");
                }
                // The connection has nothing more to say, and stays.
                std::future::pending::<()>().await;
            };
            let mut silent = Box::pin(silent);
            let connection = tokio::spawn(poll_fn(move |context| {
                writes.poll(silent.as_mut(), context)
            }));
            let mut found = [0; 16];
            let length = client.read(&mut found).await.expect("something arrives");
            assert_eq!(&found[..length], b"abc");
            connection.abort();
        }
    }
}
