//! The gRPC messages of a request's body, each handed on once it is whole.
//!
//! A decoder reserves what the head of a message promises, which five bytes can do. Here what has
//! arrived is kept as it came until nothing is missing, so memory follows what was received. A
//! message that is not whole after a time ends its call.

use crate::limits::MESSAGE_TIMEOUT;
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http_body::{Body, Frame};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use thiserror::Error;

/// What stands before each message: a flag and its length.
const PREFIX_BYTES: usize = 5;
/// A piece of this size is kept as it came. A smaller one would keep a whole read buffer.
const PIECE_BYTES: usize = 4 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a message is not waited for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MessageError {
    #[error("a message was not sent to its end in time")]
    TimedOut,
    #[error("the messages under way are too large together")]
    TooLarge,
}

/// What the calls of a port have received of messages that are not whole, and may have.
#[derive(Clone)]
pub struct Unfinished(Arc<Limits>);

struct Limits {
    bytes: AtomicUsize,
    bytes_max: usize,
    timeout: Duration,
    /// For so many bytes a message is given one second more.
    bytes_per_second_min: usize,
    /// What its client is told.
    error: fn(MessageError) -> BoxError,
}

impl Unfinished {
    pub fn new(
        bytes_max: usize,
        bytes_per_second_min: usize,
        error: fn(MessageError) -> BoxError,
    ) -> Unfinished {
        Unfinished(Arc::new(Limits {
            bytes: AtomicUsize::new(0),
            bytes_max,
            timeout: MESSAGE_TIMEOUT,
            bytes_per_second_min,
            error,
        }))
    }
}

/// What calls to a method send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// One message. What follows it is not looked at.
    One,
    /// Any number of messages, at any time.
    Any,
}

/// A request's body of whole messages. It is small, as it is moved often.
pub struct WholeMessages<B> {
    body: B,
    expected: Expected,
    ended: bool,
    message: Message,
    unfinished: Unfinished,
    /// There is none for most calls, whose message comes in one piece.
    pieces: Option<Box<Pieces>>,
}

impl<B> WholeMessages<B> {
    /// `message_bytes_max` is what the decoder takes: it refuses a longer message by its head.
    pub fn new(
        body: B,
        expected: Expected,
        message_bytes_max: usize,
        unfinished: &Unfinished,
    ) -> WholeMessages<B> {
        WholeMessages {
            body,
            expected,
            ended: false,
            message: Message {
                bytes_max: message_bytes_max,
                prefix: [0; PREFIX_BYTES],
                known: 0,
                missing: 0,
            },
            unfinished: unfinished.clone(),
            pieces: None,
        }
    }

    /// Sorts what has arrived into what is whole and what is held. Gives what can be handed on at
    /// once.
    fn arrived(&mut self, mut data: Bytes) -> Result<Option<Bytes>, MessageError> {
        if data.is_empty() {
            return Ok(None);
        }
        let whole = match self.message.advance(&data, self.expected) {
            Ok(whole) => whole,
            Err(Refused) => {
                // The decoder says so, and asks for no more.
                self.ended = true;
                data.len()
            }
        };
        self.ended |= whole > 0 && self.expected == Expected::One;
        if self.ended || whole == data.len() {
            data.truncate(whole);
            return Ok(match &mut self.pieces {
                None => Some(data),
                Some(pieces) => {
                    pieces.release();
                    pieces.ready.push_back(data);
                    None
                }
            });
        }
        let pieces = self
            .pieces
            .get_or_insert_with(|| Box::new(Pieces::new(self.unfinished.clone())));
        if whole > 0 {
            pieces.release();
            pieces.ready.push_back(data.split_to(whole));
        }
        pieces.keep(data).map(|()| None)
    }

    /// Whole messages that came in pieces.
    fn next_ready(&mut self) -> Option<Bytes> {
        self.pieces.as_mut()?.ready.pop_front()
    }

    /// Ready once the message at hand took too long.
    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.pieces {
            Some(pieces) if !self.message.is_at_its_begin() => pieces.poll_deadline(context),
            _ => Poll::Pending,
        }
    }
}

impl<B> Body for WholeMessages<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            if let Some(data) = this.next_ready() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            let result = match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Pending => {
                    ready!(this.poll_deadline(context));
                    Err((this.unfinished.0.error)(MessageError::TimedOut))
                }
                Poll::Ready(None) => {
                    this.ended = true;
                    // The decoder says that something is missing.
                    if let Some(pieces) = &mut this.pieces {
                        pieces.release();
                    }
                    continue;
                }
                Poll::Ready(Some(Err(error))) => Err(error.into()),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => match this.arrived(data) {
                        Ok(Some(data)) => Ok(Frame::data(data)),
                        Ok(None) => continue,
                        Err(error) => Err((this.unfinished.0.error)(error)),
                    },
                    // gRPC's requests have no trailers.
                    Err(_) => continue,
                },
            };
            this.ended |= result.is_err();
            return Poll::Ready(Some(result));
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_ready = |pieces: &Pieces| !pieces.ready.is_empty();
        self.ended && !self.pieces.as_deref().is_some_and(is_ready)
    }
}

/// A message that the decoder does not take.
struct Refused;

/// How much of a message has arrived.
struct Message {
    bytes_max: usize,
    prefix: [u8; PREFIX_BYTES],
    /// How many bytes of the prefix have arrived.
    known: u8,
    /// How many bytes of the message are missing, once the prefix is known.
    missing: usize,
}

impl Message {
    fn is_at_its_begin(&self) -> bool {
        self.known == 0
    }

    /// Whether one message has arrived in one piece, as most do.
    fn is_one_whole(&self, data: &[u8]) -> bool {
        let Some(([flag, length @ ..], message)) = data.split_first_chunk::<PREFIX_BYTES>() else {
            return false;
        };
        self.is_at_its_begin()
            && *flag <= 1
            && u32::from_be_bytes(*length) as usize == message.len()
            && message.len() <= self.bytes_max
    }

    /// Takes in what has arrived. Where in it the last message ends, or 0.
    fn advance(&mut self, data: &[u8], expected: Expected) -> Result<usize, Refused> {
        let (mut place, mut whole) = (0, 0);
        if self.is_one_whole(data) {
            return Ok(data.len());
        }
        while place < data.len() {
            if usize::from(self.known) < PREFIX_BYTES {
                self.prefix[usize::from(self.known)] = data[place];
                self.known += 1;
                place += 1;
                if usize::from(self.known) < PREFIX_BYTES {
                    continue;
                }
                let [flag, length @ ..] = self.prefix;
                self.missing = u32::from_be_bytes(length) as usize;
                if flag > 1 || self.missing > self.bytes_max {
                    return Err(Refused);
                }
            }
            let part = self.missing.min(data.len() - place);
            self.missing -= part;
            place += part;
            if self.missing == 0 {
                self.known = 0;
                whole = place;
                if expected == Expected::One {
                    break;
                }
            }
        }
        Ok(whole)
    }
}

/// What came in pieces.
struct Pieces {
    /// Whole messages.
    ready: VecDeque<Bytes>,
    /// What has arrived of a message that is not whole.
    held: VecDeque<Bytes>,
    /// Comes after the pieces that are held.
    small: BytesMut,
    bytes: usize,
    unfinished: Unfinished,
    /// When the message began, and how long to wait for it.
    deadline: Option<(detcd_rt::Instant, BoxFuture<'static, ()>)>,
}

impl Pieces {
    fn new(unfinished: Unfinished) -> Pieces {
        Pieces {
            ready: VecDeque::new(),
            held: VecDeque::new(),
            small: BytesMut::new(),
            bytes: 0,
            unfinished,
            deadline: None,
        }
    }

    fn keep(&mut self, data: Bytes) -> Result<(), MessageError> {
        let limits = &*self.unfinished.0;
        self.bytes += data.len();
        let all = limits.bytes.fetch_add(data.len(), Relaxed) + data.len();
        if all > limits.bytes_max {
            return Err(MessageError::TooLarge);
        }
        if data.len() < PIECE_BYTES {
            self.small.extend_from_slice(&data);
        } else {
            self.flush();
            self.held.push_back(data);
        }
        Ok(())
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.held.push_back(self.small.split().freeze());
        }
    }

    /// Makes ready what is held.
    fn release(&mut self) {
        self.flush();
        self.ready.append(&mut self.held);
        self.deadline = None;
        self.forget();
    }

    fn forget(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.unfinished.0.bytes.fetch_sub(bytes, Relaxed);
    }

    /// Ready once a message that is not whole took too long.
    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let limits = &*self.unfinished.0;
        let timeout = limits.timeout;
        let more = Duration::from_secs((self.bytes / limits.bytes_per_second_min) as u64);
        let (began, sleep) = self
            .deadline
            .get_or_insert_with(|| (detcd_rt::Instant::now(), Box::pin(detcd_rt::sleep(timeout))));
        loop {
            ready!(sleep.as_mut().poll(context));
            let end = *began + timeout + more;
            if end <= detcd_rt::Instant::now() {
                return Poll::Ready(());
            }
            *sleep = Box::pin(detcd_rt::sleep_until(end));
        }
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use http_body_util::{BodyExt as _, StreamBody};
    use proptest::prelude::*;

    const MAX: usize = 100_000;

    fn unfinished(timeout: Duration) -> Unfinished {
        Unfinished(Arc::new(Limits {
            bytes: AtomicUsize::new(0),
            bytes_max: MAX,
            timeout,
            bytes_per_second_min: 1024,
            error: Into::into,
        }))
    }

    fn message(length: usize) -> Vec<u8> {
        let prefix = [&[0][..], &(length as u32).to_be_bytes()].concat();
        [prefix, vec![b'x'; length]].concat()
    }

    fn body(pieces: Vec<Bytes>) -> impl Body<Data = Bytes, Error = BoxError> + Unpin {
        let frames = pieces.into_iter().map(|piece| Ok(Frame::data(piece)));
        StreamBody::new(futures::stream::iter(frames))
    }

    /// `bytes`, in pieces that end at these places, and then nothing more.
    fn cut(bytes: &[u8], ends: &[usize]) -> Vec<Bytes> {
        let mut ends: Vec<usize> = ends.iter().map(|end| end % (bytes.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(bytes.len());
        let begins = std::iter::once(0).chain(ends.clone());
        let pieces = begins.zip(ends.clone());
        pieces
            .map(|(begin, end)| Bytes::copy_from_slice(&bytes[begin..end]))
            .collect()
    }

    proptest! {
        /// Nothing is lost, and what is handed on ends with a message.
        #[test]
        fn messages_are_handed_on_when_they_are_whole(
            lengths in proptest::collection::vec(0..20_000_usize, 1..6),
            ends in proptest::collection::vec(any::<usize>(), 0..8),
            rest in 0..8_usize,
        ) {
            let whole: Vec<u8> = lengths.iter().copied().flat_map(message).collect();
            let sent = [&whole[..], &message(3)[..rest]].concat();
            let unfinished = unfinished(MESSAGE_TIMEOUT);
            let source = body(cut(&sent, &ends));
            let mut messages = WholeMessages::new(source, Expected::Any, MAX, &unfinished);
            let mut found = Vec::new();
            while let Some(frame) = messages.frame().now_or_never().expect("no waiting") {
                found.extend(frame.unwrap().into_data().unwrap());
            }
            prop_assert!(found == sent);
            drop(messages);
            prop_assert_eq!(unfinished.0.bytes.load(Relaxed), 0);

            let source = body(cut(&sent, &ends));
            let mut one = WholeMessages::new(source, Expected::One, MAX, &unfinished);
            let mut found = Vec::new();
            while let Some(frame) = one.frame().now_or_never().expect("no waiting") {
                found.extend(frame.unwrap().into_data().unwrap());
            }
            prop_assert!(found == message(lengths[0]));
        }
    }

    #[tokio::test]
    async fn a_message_that_does_not_become_whole_ends_with_a_timeout() {
        for (expected, sent, ends) in [
            (Expected::One, 0, false),
            (Expected::One, 3, true),
            (Expected::Any, 0, false),
            (Expected::Any, 3, true),
            (Expected::Any, 15, false),
            (Expected::Any, 16, true),
        ] {
            let frame = Bytes::from(message(10).repeat(2)).slice(..sent);
            let frames = futures::stream::iter([Ok::<_, BoxError>(Frame::data(frame))]);
            let frames = futures::StreamExt::chain(frames, futures::stream::pending());
            let source = StreamBody::new(frames);
            let unfinished = unfinished(Duration::from_millis(10));
            let mut messages = WholeMessages::new(source, expected, MAX, &unfinished);
            let end = async {
                while let Some(frame) = messages.frame().await {
                    if let Err(error) = frame {
                        return error.to_string();
                    }
                }
                "no timeout".to_owned()
            };
            // Without a message at hand there is no deadline that could pass.
            let limit = Duration::from_millis(if ends { 20_000 } else { 50 });
            let end = tokio::time::timeout(limit, end).await;
            let timed_out = end.is_ok_and(|error| error.contains("in time"));
            assert_eq!(timed_out, ends, "{expected:?} {sent}");
        }
    }

    #[tokio::test]
    async fn what_is_not_whole_is_bounded() {
        let pieces = cut(&message(90_000)[..80_000], &[5]);
        let unfinished = unfinished(MESSAGE_TIMEOUT);
        let mut first = WholeMessages::new(
            StreamBody::new(futures::StreamExt::chain(
                futures::stream::iter(
                    pieces
                        .clone()
                        .into_iter()
                        .map(|piece| Ok::<_, BoxError>(Frame::data(piece))),
                ),
                futures::stream::pending(),
            )),
            Expected::One,
            MAX,
            &unfinished,
        );
        assert!(first.frame().now_or_never().is_none());
        let mut second = WholeMessages::new(body(pieces.clone()), Expected::One, MAX, &unfinished);
        let refused = second.frame().await.unwrap().unwrap_err();
        assert!(refused.to_string().contains("too large"));
        drop((first, second));
        let mut third = WholeMessages::new(body(pieces), Expected::One, MAX, &unfinished);
        assert!(third.frame().await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn what_is_too_long_or_cut_off_is_left_to_the_decoder() {
        let mut long = message(10);
        long[1..5].copy_from_slice(&(MAX as u32 + 1).to_be_bytes());
        for sent in [long, message(10)[..12].to_vec(), vec![0, 0]] {
            let unfinished = unfinished(MESSAGE_TIMEOUT);
            let source = body(sent.chunks(4).map(Bytes::copy_from_slice).collect());
            let mut messages = WholeMessages::new(source, Expected::Any, MAX, &unfinished);
            let mut found = Vec::new();
            while let Some(frame) = messages.frame().await {
                found.extend(frame.unwrap().into_data().unwrap());
            }
            // Of what is too long, the rest is not asked for.
            assert!(
                sent.starts_with(&found) && found.len() >= sent.len().min(8),
                "{found:?}"
            );
        }
    }
}
