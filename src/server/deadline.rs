//! The time that a client gives a call (`grpc-timeout`). A call that takes longer is dropped, which
//! also makes the member forget what it waits for, and answered as grpc-go's servers answer.

use super::listen::Reply;
use ::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body, Frame};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::{Code, Status};

/// The longest number that the header may have.
const DIGITS_MAX: usize = 8;

/// When a call is to be over.
pub(crate) struct Deadline {
    sleep: BoxFuture<'static, ()>,
}

impl Deadline {
    /// The deadline that a request's headers set. One that cannot be understood fails the call.
    pub fn of(headers: &HeaderMap) -> Result<Option<Deadline>, Status> {
        let Some(value) = headers.get("grpc-timeout") else {
            return Ok(None);
        };
        let timeout = value.to_str().ok().and_then(parse).ok_or_else(|| {
            let words = format!("malformed grpc-timeout: {value:?}");
            Status::internal(words)
        })?;
        let sleep = Box::pin(detcd_rt::sleep(timeout));
        Ok(Some(Deadline { sleep }))
    }

    /// Ready once the time is up.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(context)
    }

    /// The reply whose messages end with the deadline.
    pub fn limit(self, reply: Reply) -> Reply {
        reply.map(|body| {
            tonic::body::Body::new(Limited {
                body,
                deadline: Some(self),
            })
        })
    }
}

/// What a call is told that took too long.
pub(crate) fn exceeded() -> Status {
    Status::deadline_exceeded("context deadline exceeded")
}

/// A number and its unit, as `100m` for a tenth of a second.
fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || number.is_empty() || number.len() > DIGITS_MAX {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The messages of a reply, as far as there is time.
struct Limited {
    body: tonic::body::Body,
    /// `None` once the body has ended.
    deadline: Option<Deadline>,
}

impl Body for Limited {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(deadline) = &mut self.deadline else {
            return Poll::Ready(None);
        };
        let expired = deadline.poll(context).is_ready();
        if expired {
            self.deadline = None;
            // What the call still held goes with its body.
            self.body = tonic::body::Body::empty();
            return Poll::Ready(Some(Ok(Frame::trailers(trailers()))));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.deadline.is_none() || self.body.is_end_stream()
    }
}

fn trailers() -> HeaderMap {
    let status = exceeded();
    let mut trailers = HeaderMap::new();
    trailers.insert(
        "grpc-status",
        HeaderValue::from(Code::DeadlineExceeded as i32),
    );
    let words = HeaderValue::from_str(&status.message().replace(' ', "%20"));
    trailers.insert("grpc-message", words.expect("plain letters"));
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read() {
        assert_eq!(parse("3S"), Some(Duration::from_secs(3)));
        assert_eq!(parse("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parse("150m"), Some(Duration::from_millis(150)));
        assert_eq!(parse("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for wrong in ["", "S", "3", "-3S", "+3S", "3s", "123456789S", "3é", "é"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
