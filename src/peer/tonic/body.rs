//! The body of a request, message by message.
//!
//! A gRPC message begins with its length, and the decoder reserves as much at once: a few bytes
//! that announce 128 MiB would cost 128 MiB. So the parts of a message are held back as they came
//! until it is whole, and memory follows what was received. A message that is not whole in time
//! ends the request.

use super::MESSAGE_BYTES_MAX;
use bytes::{Buf, Bytes, BytesMut};
use detcd_rt::{Instant, Sleep};
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// What stands before a message: a flag and the length.
const HEAD_BYTES: usize = 5;
/// What a message may take from its first byte to its last, beside what its length takes.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(20);
/// The slowest connection over which a message may come.
const BYTES_PER_SECOND_MIN: u64 = 256 * 1024;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Parts that are smaller are gathered into one, so that a part costs little beside its bytes.
const PART_BYTES_MIN: usize = 8 * 1024;

/// Gives the parts of a message once all of them are there.
pub(super) struct Whole<B> {
    inner: Pin<Box<B>>,
    timeout: Duration,
    /// What was received and not given out yet, in order; `small` is the end of it.
    parts: VecDeque<Bytes>,
    small: BytesMut,
    held: usize,
    /// How many of those bytes belong to whole messages, or to one that is refused for its length.
    ready: usize,
    progress: Progress,
    /// When the last message began.
    began: Instant,
    /// When it must be whole, unless it is.
    due: Option<Instant>,
    deadline: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

/// What has come of the message that has begun.
#[derive(Clone, Copy)]
enum Progress {
    Head {
        bytes: [u8; HEAD_BYTES],
        len: usize,
    },
    Body {
        length: usize,
        missing: usize,
    },
    /// It is too long, and left to the decoder.
    Refused,
}

const NOTHING: Progress = Progress::Head {
    bytes: [0; HEAD_BYTES],
    len: 0,
};

impl<B> Whole<B> {
    pub(super) fn new(inner: B) -> Whole<B> {
        Whole::with_timeout(inner, MESSAGE_TIMEOUT)
    }

    fn with_timeout(inner: B, timeout: Duration) -> Whole<B> {
        Whole {
            inner: Box::pin(inner),
            timeout,
            parts: VecDeque::new(),
            small: BytesMut::new(),
            held: 0,
            ready: 0,
            progress: NOTHING,
            began: Instant::now(),
            due: None,
            deadline: None,
            ended: false,
        }
    }

    fn receive(&mut self, part: Bytes) {
        let mut rest = part.as_ref();
        while !rest.is_empty() {
            if matches!(self.progress, Progress::Head { len: 0, .. }) {
                self.began = Instant::now();
            }
            let taken = self.progress.take(rest);
            rest = &rest[taken..];
            self.held += taken;
            let is_whole = matches!(self.progress, Progress::Body { missing: 0, .. });
            if is_whole {
                self.progress = NOTHING;
            }
            if is_whole || matches!(self.progress, Progress::Refused) {
                self.ready = self.held;
            }
        }
        self.keep(part);
        self.await_end();
    }

    /// Sets the deadline of the message that has begun, if one has.
    fn await_end(&mut self) {
        let transfer = match self.progress {
            Progress::Body { length, .. } => length as u64 / BYTES_PER_SECOND_MIN,
            Progress::Head { .. } | Progress::Refused => 0,
        };
        let due = self.began + self.timeout + Duration::from_secs(transfer);
        let due = (self.ready < self.held).then_some(due);
        if due != self.due {
            self.due = due;
            self.deadline = due.map(|due| Box::pin(detcd_rt::sleep_until(due)));
        }
    }

    fn keep(&mut self, part: Bytes) {
        if part.len() < PART_BYTES_MIN {
            self.small.extend_from_slice(&part);
        }
        if !self.small.is_empty() && self.small.len().max(part.len()) >= PART_BYTES_MIN {
            self.parts.push_back(self.small.split().freeze());
        }
        if part.len() >= PART_BYTES_MIN {
            self.parts.push_back(part);
        }
    }

    fn give(&mut self) -> Option<Bytes> {
        if self.ready == 0 {
            return None;
        }
        if self.parts.is_empty() {
            self.parts.push_back(self.small.split().freeze());
        }
        let part = self.parts.front_mut()?;
        let given = part.split_to(part.len().min(self.ready));
        if part.is_empty() {
            self.parts.pop_front();
        }
        self.ready -= given.len();
        self.held -= given.len();
        Some(given)
    }
}

impl Progress {
    /// Takes what belongs to this message's next stage off the front; says how much that was.
    fn take(&mut self, rest: &[u8]) -> usize {
        match self {
            Progress::Refused => rest.len(),
            Progress::Body { missing, .. } => {
                let taken = rest.len().min(*missing);
                *missing -= taken;
                taken
            }
            Progress::Head { bytes, len } => {
                let taken = rest.len().min(HEAD_BYTES - *len);
                bytes[*len..*len + taken].copy_from_slice(&rest[..taken]);
                *len += taken;
                if *len == HEAD_BYTES {
                    let [_, length @ ..] = *bytes;
                    let length = u32::from_be_bytes(length) as usize;
                    let missing = length;
                    *self = match length > MESSAGE_BYTES_MAX {
                        true => Progress::Refused,
                        false => Progress::Body { length, missing },
                    };
                }
                taken
            }
        }
    }
}

impl<B> Body for Whole<B>
where
    B: Body,
    B::Error: Into<Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        loop {
            if let Some(part) = this.give() {
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
            if this.ended {
                // What is left belongs to no whole message: the decoder says so.
                this.ready = this.held;
                match this.give() {
                    Some(part) => return Poll::Ready(Some(Ok(Frame::data(part)))),
                    None => return Poll::Ready(None),
                }
            }
            match this.inner.as_mut().poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(mut data) => this.receive(data.copy_to_bytes(data.remaining())),
                    Err(other) => {
                        if let Ok(trailers) = other.into_trailers() {
                            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                        }
                    }
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Ready(None) => this.ended = true,
                Poll::Pending => break,
            }
        }
        let is_late = match &mut this.deadline {
            Some(deadline) => deadline.as_mut().poll(context).is_ready(),
            None => false,
        };
        if is_late {
            this.deadline = None;
            return Poll::Ready(Some(
                Err("a message was not sent to its end in time".into()),
            ));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.held == 0 && (self.ended || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream::{self, StreamExt};

    /// A body of these parts, which then says nothing more, or ends.
    struct Parts(VecDeque<Bytes>, bool);

    impl Body for Parts {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            match self.0.pop_front() {
                Some(part) => Poll::Ready(Some(Ok(Frame::data(part)))),
                None if self.1 => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    fn message(length: usize) -> Vec<u8> {
        let head = (length as u32).to_be_bytes();
        [&[0][..], &head, &vec![7; length]].concat()
    }

    fn whole(bytes: &[u8], part: usize, ends: bool) -> Whole<Parts> {
        let parts = bytes.chunks(part).map(Bytes::copy_from_slice).collect();
        Whole::with_timeout(Parts(parts, ends), Duration::from_millis(20))
    }

    /// What comes out until there is no more.
    async fn given(mut body: Whole<Parts>) -> Vec<Result<Vec<u8>, String>> {
        let frames = stream::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        let bytes = frames.map(|frame| match frame {
            Ok(frame) => Ok(frame.into_data().unwrap().to_vec()),
            Err(error) => Err(error.to_string()),
        });
        // An error is the last that a decoder asks for.
        let mut failed = false;
        bytes
            .take_while(|given| {
                let goes_on = !failed;
                failed |= given.is_err();
                std::future::ready(goes_on)
            })
            .take(200_000)
            .collect()
            .await
    }

    #[tokio::test]
    async fn messages_come_out_as_they_came_in() {
        let sent = [message(0), message(1), message(3000), message(4)].concat();
        for part in [1, 2, 4, 5, 7, 1000, 10_000] {
            let parts = given(whole(&sent, part, true)).await;
            let all: Vec<u8> = parts.into_iter().flat_map(Result::unwrap).collect();
            assert!(all == sent, "in parts of {part}");
        }
    }

    #[tokio::test]
    async fn nothing_of_a_message_comes_out_before_its_end_and_it_ends_in_time() {
        let cut = [message(10), message(3000)[..2999].to_vec()].concat();
        let mut body = whole(&cut, 100, false);
        let first = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        let first = first.await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, message(10));
        let next = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        let next = detcd_rt::timeout(Duration::from_secs(60), next).await;
        let error = next.unwrap().unwrap().unwrap_err().to_string();
        assert!(error.contains("in time"), "{error}");
    }

    #[tokio::test]
    async fn what_is_too_long_or_cut_off_is_left_to_the_decoder() {
        let mut long = message(10);
        long[1..5].copy_from_slice(&(MESSAGE_BYTES_MAX as u32 + 1).to_be_bytes());
        for sent in [long, message(10)[..12].to_vec(), vec![0, 0]] {
            let parts = given(whole(&sent, 4, true)).await;
            let all: Vec<u8> = parts.into_iter().flat_map(Result::unwrap).collect();
            assert_eq!(all, sent);
        }
    }
}
