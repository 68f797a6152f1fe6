//! The count of calls: each that has started is handled once, with the code that it ends with. What
//! has started and was not handled yet is what is open, as dashboards compute it.

use super::Context;
use super::listen::Reply;
use bytes::Bytes;
use detcd_service::Method;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use tonic::{Code, Status};

/// A call that has started. Dropped before its end, it was given up by its client.
pub(super) struct CallCount {
    context: Arc<Context>,
    method: &'static Method,
    started: Option<detcd_rt::Instant>,
    code: Code,
}

impl CallCount {
    pub fn start(context: Arc<Context>, method: &'static Method) -> CallCount {
        context.metrics.started(method);
        CallCount {
            method,
            started: context.metrics.stopwatch(),
            context,
            code: Code::Cancelled,
        }
    }

    /// The call's end, if there is nothing of it to come.
    pub fn end(mut self, code: Code) {
        self.code = code;
    }

    /// The reply whose messages go on coming after its head: the call ends with them.
    pub fn follow(self, reply: Reply) -> Reply {
        reply.map(|body| {
            tonic::body::Body::new(Followed {
                body,
                count: Some(self),
            })
        })
    }
}

impl Drop for CallCount {
    fn drop(&mut self) {
        self.context
            .metrics
            .handled(self.method, self.code, self.started);
    }
}

/// The messages of a reply, watched for the status at their end.
struct Followed {
    body: tonic::body::Body,
    /// `None` once the call has ended.
    count: Option<CallCount>,
}

impl Followed {
    fn end(&mut self, code: Code) {
        if let Some(count) = self.count.take() {
            count.end(code);
        }
    }
}

impl Body for Followed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let status = trailers.get("grpc-status");
                    let code = status.map(|code| Code::from_bytes(code.as_bytes()));
                    self.end(code.unwrap_or(Code::Unknown));
                }
            }
            Some(Err(status)) => self.end(status.code()),
            // gRPC's messages end with trailers; without them the client knows no status.
            None => self.end(Code::Unknown),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.count.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
