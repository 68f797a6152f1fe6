//! The time that a client has to say what it speaks.

use crate::filter::ReadFilter;
use futures::future::BoxFuture;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};

/// HTTP/2's preface has 24 bytes, and no HTTP/1 request that could be mistaken for it less.
const BYTES: usize = 24;

/// Ends a connection whose first bytes do not come in time. One that says nothing, or half of
/// HTTP/2's preface, would be held for ever: nothing above knows yet what it is.
pub struct FirstBytes {
    missing: usize,
    /// `None` once they have come.
    deadline: Option<BoxFuture<'static, ()>>,
}

impl FirstBytes {
    pub fn within(timeout: Duration) -> FirstBytes {
        FirstBytes {
            missing: BYTES,
            deadline: Some(Box::pin(detcd_rt::sleep(timeout))),
        }
    }
}

impl<S: AsyncRead + Unpin> ReadFilter<S> for FirstBytes {
    fn poll_read(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(deadline) = &mut self.deadline else {
            return Pin::new(stream).poll_read(context, buffer);
        };
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(stream).poll_read(context, buffer) {
            let received = buffer.filled().len() - before;
            self.missing = self.missing.saturating_sub(received);
            self.deadline.take_if(|_| self.missing == 0);
            return Poll::Ready(read);
        }
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}
