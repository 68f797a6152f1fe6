//! The JSON values of a body, one after another, each handed on once it is whole.

use super::error::failure;
use super::json::scan::{Scanner, Step};
use bytes::{Bytes, BytesMut};
use detcd_net::limits::{BYTES_PER_SECOND_MIN, MESSAGE_TIMEOUT, UNFINISHED_BYTES_MAX};
use detcd_service::Failure;
use futures::stream::{BoxStream, StreamExt as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tonic::Code;

/// The bytes of a body as they come. It ends early if its client does.
pub type Body = BoxStream<'static, Result<Bytes, Broken>>;

/// The client has not sent its body to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Why there is no further value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueError {
    /// It is no JSON, and why.
    Malformed(String),
    /// It is none that is waited for.
    Refused(Failure),
}

impl ValueError {
    /// As the client is told it; what is malformed, with this code.
    pub fn failure(self, malformed: Code) -> Failure {
        match self {
            ValueError::Malformed(why) => failure(malformed, why),
            ValueError::Refused(failure) => failure,
        }
    }
}

/// What the bodies of all requests hold of values that are not whole.
#[derive(Clone, Debug, Default)]
pub struct HeldBytes(Arc<AtomicUsize>);

/// The values of a body.
pub struct Values {
    body: Body,
    /// What has come and was not handed on.
    held: BytesMut,
    scanner: Scanner,
    /// How much of `held` the scanner has seen.
    scanned: usize,
    bytes_max: usize,
    /// What all hold, and how much of it is of this body.
    all_held: HeldBytes,
    counted: usize,
}

impl Values {
    /// `bytes_max` is what one value may have.
    pub fn new(body: Body, bytes_max: usize, all_held: HeldBytes) -> Values {
        Values {
            body,
            held: BytesMut::new(),
            scanner: Scanner::default(),
            scanned: 0,
            bytes_max,
            all_held,
            counted: 0,
        }
    }

    /// The next value, or `None` if there is nothing but space.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ValueError> {
        loop {
            if let Some(value) = self.scan()? {
                return Ok(Some(value));
            }
            if self.held.len() > self.bytes_max {
                let text = format!(
                    "grpc: received message larger than max (more than {} vs. {})",
                    self.bytes_max, self.bytes_max
                );
                return Err(ValueError::Refused(failure(Code::ResourceExhausted, text)));
            }
            if self.count() > UNFINISHED_BYTES_MAX {
                let text = "etcdserver: too many requests";
                return Err(ValueError::Refused(failure(Code::ResourceExhausted, text)));
            }
            match self.arrive().await? {
                Some(bytes) => self.held.extend_from_slice(&bytes),
                None => return self.last(),
            }
        }
    }

    /// Counts what is held here, and gives what all hold.
    fn count(&mut self) -> usize {
        let HeldBytes(all) = &self.all_held;
        let held = self.held.len();
        let before = std::mem::replace(&mut self.counted, held);
        match held >= before {
            true => all.fetch_add(held - before, Relaxed) + (held - before),
            false => all.fetch_sub(before - held, Relaxed) - (before - held),
        }
    }

    /// More of the body. Who has begun a value is to end it in time.
    async fn arrive(&mut self) -> Result<Option<Bytes>, ValueError> {
        let next = self.body.next();
        let arrived = match self.scanner.is_at_start() {
            true => next.await,
            false => {
                let per_byte = self.bytes_max / BYTES_PER_SECOND_MIN;
                let timeout = MESSAGE_TIMEOUT + Duration::from_secs(per_byte as u64);
                let text = "etcdserver: request timed out";
                detcd_rt::timeout(timeout, next)
                    .await
                    .map_err(|_| ValueError::Refused(failure(Code::Unavailable, text)))?
            }
        };
        match arrived {
            Some(Ok(bytes)) => Ok(Some(bytes)),
            Some(Err(Broken)) => Err(ValueError::Malformed("unexpected EOF".to_owned())),
            None => Ok(None),
        }
    }

    /// The value that what is held begins with, if it is whole.
    fn scan(&mut self) -> Result<Option<Bytes>, ValueError> {
        while let Some(byte) = self.held.get(self.scanned) {
            let end = match self.scanner.step(*byte) {
                Step::More => {
                    self.scanned += 1;
                    continue;
                }
                Step::Ends => self.scanned + 1,
                Step::Ended => self.scanned,
                Step::Wrong(why) => return Err(ValueError::Malformed(why)),
            };
            return Ok(Some(self.take(end)));
        }
        if self.scanner.is_at_start() {
            // Nothing but space is here.
            self.held.clear();
            self.scanned = 0;
        }
        Ok(None)
    }

    fn take(&mut self, end: usize) -> Bytes {
        self.scanner = Scanner::default();
        self.scanned = 0;
        let value = self.held.split_to(end).freeze();
        self.count();
        value
    }

    /// What is held once there is nothing to come.
    fn last(&mut self) -> Result<Option<Bytes>, ValueError> {
        if self.scanner.is_at_start() {
            return Ok(None);
        }
        match self.scanner.may_end() {
            true => Ok(Some(self.take(self.held.len()))),
            false => Err(ValueError::Malformed("unexpected EOF".to_owned())),
        }
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        self.held.clear();
        self.count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use proptest::prelude::*;

    fn read(pieces: Vec<Vec<u8>>) -> Vec<Result<String, ValueError>> {
        let pieces = stream::iter(pieces).map(|piece| Ok(Bytes::from(piece)));
        let all_held = HeldBytes::default();
        let mut values = Values::new(pieces.boxed(), 1000, all_held);
        let all = async {
            let mut found = Vec::new();
            loop {
                let value = match values.next().await {
                    Ok(Some(value)) => Ok(String::from_utf8_lossy(&value).trim().to_owned()),
                    Ok(None) => return found,
                    Err(error) => Err(error),
                };
                let is_last = value.is_err();
                found.push(value);
                if is_last {
                    return found;
                }
            }
        };
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build();
        runtime.expect("a runtime").block_on(all)
    }

    #[test]
    fn values_are_handed_on_one_by_one() {
        let body = b" {\"a\":1}{} [1] 5 null\n\"x\"7".to_vec();
        let values = read(Vec::from([body.clone()]));
        let expected = ["{\"a\":1}", "{}", "[1]", "5", "null", "\"x\"", "7"];
        let expected: Vec<_> = expected.iter().map(|it| Ok(it.to_string())).collect();
        assert_eq!(values, expected);
        let bytes: Vec<Vec<u8>> = body.iter().map(|byte| Vec::from([*byte])).collect();
        assert_eq!(read(bytes), expected);
        assert_eq!(read(Vec::from([b" \n".to_vec()])), []);
        let eof = Err(ValueError::Malformed("unexpected EOF".into()));
        assert_eq!(read(Vec::from([b"{\"a\"".to_vec()])), [eof]);
        let long = read(Vec::from([b"[".repeat(1001)]));
        assert!(
            matches!(long[..], [Err(ValueError::Refused(_))]),
            "{long:?}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_does_not_matter_where_a_body_is_cut(
            body in "[\\[\\]{}\":,0-9eE+.a\\\\unlt \\-]{0,40}",
            size in 1usize..8,
        ) {
            let pieces = body.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(read(pieces), read(Vec::from([body.clone().into_bytes()])));
        }
    }
}
