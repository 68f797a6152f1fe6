//! One write to the socket for all that a connection has to say at a time.
//!
//! HTTP/2 flushes whenever it has no more to send, which under load is after every single reply:
//! the task that answers wakes the connection's task, which runs before the next task answers. A
//! system call for each reply took a third of a member's time under linearizable reads. So what
//! the connection writes is gathered here, and goes out at the end of its poll, after the other
//! tasks that are ready had their turn to add to it.

use futures::future::BoxFuture;
use prometheus::IntCounter;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Gathered bytes at most. What comes then waits until the socket has taken them.
const GATHERED_MAX: usize = 64 * 1024;
/// A write of this length is worth a system call of its own, and is not copied.
const LARGE: usize = 16 * 1024;

/// Where the bytes of connections are counted.
#[derive(Clone)]
pub(crate) struct Traffic {
    pub received: IntCounter,
    pub sent: IntCounter,
}

/// A socket whose writes are gathered. Whoever polls what stands on it does so through the
/// [`Outgoing`] that came with it.
pub(crate) struct Gathered {
    incoming: OwnedReadHalf,
    outgoing: Outgoing,
    greeting: Option<Greeting>,
}

/// What a client must have said by when. Without it a connection that says nothing, or half of
/// HTTP/2's preface, would be held for ever: nothing above knows yet what it is.
struct Greeting {
    missing: usize,
    deadline: BoxFuture<'static, ()>,
}

impl Greeting {
    /// HTTP/2's preface has 24 bytes, and no HTTP/1 request that could be mistaken for it less.
    const BYTES: usize = 24;

    fn within(patience: Duration) -> Greeting {
        Greeting {
            missing: Greeting::BYTES,
            deadline: Box::pin(detcd_rt::sleep(patience)),
        }
    }
}

/// What was written and is not sent.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pending: Arc<Mutex<Pending>>,
    traffic: Option<Traffic>,
}

struct Pending {
    socket: OwnedWriteHalf,
    bytes: Vec<u8>,
    /// How many of `bytes` the socket has taken.
    sent: usize,
    /// Whether the other tasks had their turn since something was written.
    yielded: bool,
}

/// `patience`: what the other side may take to greet, if it is the one to speak first.
pub(crate) fn gather(
    stream: TcpStream,
    traffic: Option<Traffic>,
    patience: Option<Duration>,
) -> (Gathered, Outgoing) {
    let (incoming, socket) = stream.into_split();
    let pending = Pending {
        socket,
        bytes: Vec::new(),
        sent: 0,
        yielded: false,
    };
    let outgoing = Outgoing {
        pending: Arc::new(Mutex::new(pending)),
        traffic,
    };
    let gathered = Gathered {
        incoming,
        outgoing: outgoing.clone(),
        greeting: patience.map(Greeting::within),
    };
    (gathered, outgoing)
}

impl Outgoing {
    /// Polls what stands on the socket, and then sends what it wrote. A socket that fails ends
    /// the connection with the next read from it.
    pub fn poll<F: Future>(
        &self,
        connection: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<F::Output> {
        if let Poll::Ready(ended) = connection.poll(context) {
            return Poll::Ready(ended);
        }
        let mut pending = self.lock();
        if pending.bytes.is_empty() {
            return Poll::Pending;
        }
        if !std::mem::replace(&mut pending.yielded, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        // If the socket is full, it wakes this task. If it is broken, reading says so, too.
        let _ = pending.poll_send(context, self.traffic.as_ref());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Sends everything gathered.
    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        traffic: Option<&Traffic>,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            let rest = &self.bytes[self.sent..];
            let taken = ready!(Pin::new(&mut self.socket).poll_write(context, rest))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            count(traffic, taken);
            self.sent += taken;
        }
        self.bytes.clear();
        self.sent = 0;
        self.yielded = false;
        Poll::Ready(Ok(()))
    }
}

fn count(traffic: Option<&Traffic>, sent: usize) {
    if let Some(traffic) = traffic {
        traffic.sent.inc_by(sent as u64);
    }
}

impl AsyncRead for Gathered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = match Pin::new(&mut self.incoming).poll_read(context, buffer) {
            Poll::Ready(result) => result,
            Poll::Pending => {
                if let Some(greeting) = &mut self.greeting {
                    ready!(greeting.deadline.as_mut().poll(context));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                return Poll::Pending;
            }
        };
        let received = buffer.filled().len() - before;
        if let Some(greeting) = &mut self.greeting {
            greeting.missing = greeting.missing.saturating_sub(received);
            self.greeting.take_if(|greeting| greeting.missing == 0);
        }
        if let Some(traffic) = &self.outgoing.traffic {
            traffic.received.inc_by(received as u64);
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Gathered {
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
        let traffic = self.outgoing.traffic.as_ref();
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut pending = self.outgoing.lock();
        if pending.bytes.len() + length > GATHERED_MAX || length >= LARGE {
            ready!(pending.poll_send(context, traffic))?;
        }
        if length >= LARGE {
            let socket = Pin::new(&mut pending.socket);
            let taken = ready!(socket.poll_write_vectored(context, slices))?;
            count(traffic, taken);
            return Poll::Ready(Ok(taken));
        }
        for slice in slices {
            pending.bytes.extend_from_slice(slice);
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
        let mut pending = self.outgoing.lock();
        ready!(pending.poll_send(context, self.outgoing.traffic.as_ref()))?;
        Pin::new(&mut pending.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.expect("connected"), accepted.expect("accepted").0)
    }

    #[tokio::test]
    async fn what_is_written_arrives_in_order_whatever_its_length() {
        let (client, server) = pair().await;
        let (mut gathered, outgoing) = gather(server, None, None);
        let lengths = [1, 100, LARGE - 1, LARGE, GATHERED_MAX, 3, 1 << 20, 7];
        let all: Vec<u8> = lengths
            .iter()
            .enumerate()
            .flat_map(|(i, length)| std::iter::repeat_n(i as u8, *length))
            .collect();
        let expected = all.clone();
        let write = async move {
            let mut rest = &all[..];
            for length in lengths {
                let (part, after) = rest.split_at(length);
                gathered.write_all(part).await?;
                gathered.flush().await?;
                rest = after;
            }
            gathered.shutdown().await
        };
        let mut write = Box::pin(write);
        let server = poll_fn(move |context| outgoing.poll(write.as_mut(), context));
        let read = async move {
            let (mut client, mut found) = (client, Vec::new());
            client.read_to_end(&mut found).await.map(|_| found)
        };
        let (written, found) = tokio::join!(server, read);
        written.expect("everything was written");
        assert!(found.expect("everything was read") == expected);
    }

    #[tokio::test]
    async fn several_writes_arrive_together_and_without_a_flush() {
        let (mut client, server) = pair().await;
        let (mut gathered, outgoing) = gather(server, None, None);
        let silent = async move {
            for part in [b"a", b"b", b"c"] {
                gathered.write_all(part).await.expect("it is gathered");
            }
            // The connection has nothing more to say, and stays.
            std::future::pending::<()>().await;
        };
        let mut silent = Box::pin(silent);
        let connection = tokio::spawn(poll_fn(move |context| {
            outgoing.poll(silent.as_mut(), context)
        }));
        let mut found = [0; 16];
        let length = client.read(&mut found).await.expect("something arrives");
        assert_eq!(&found[..length], b"abc");
        connection.abort();
    }
}
