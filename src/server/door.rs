//! The client port's one door: gRPC goes to the services, everything else to the HTTP paths.
//!
//! This is the hot path: a request passes no router, no lock and no layer, and what is counted is
//! an atomic each. The door also gives transport errors the words of grpc-go, which etcd's clients
//! match on.

use super::Context;
use super::deadline::{Deadline, exceeded};
use super::grpc::{self, Services};
use super::http::Pages;
use super::listen::Reply;
use super::metrics;
use ::http::{HeaderMap, HeaderValue, Request, Version};
use futures::future::BoxFuture;
use hyper::body::Incoming;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use tonic::Code;

/// The service of the client port. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Door {
    inner: Arc<Inner>,
}

struct Inner {
    services: Services,
    pages: Pages,
    context: Arc<Context>,
}

impl Door {
    pub fn new(context: Arc<Context>) -> Door {
        let services = Services::new(&context);
        let pages = Pages::new(context.clone());
        Door {
            inner: Arc::new(Inner {
                services,
                pages,
                context,
            }),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Door {
    type Response = Reply;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let inner = &self.inner;
        if !is_grpc(&request) {
            return Answer {
                reply: inner.pages.answer(request),
                deadline: None,
                counted: None,
            };
        }
        let method = metrics::method(request.uri().path());
        let counters = &inner.context.metrics;
        if let Err(status) = counters.count_client(method, request.headers()) {
            return Answer::ready(status.into_http());
        }
        let deadline = match Deadline::of(request.headers()) {
            Ok(deadline) => deadline,
            Err(status) => return Answer::ready(status.into_http()),
        };
        let counted = method.map(|method| {
            counters.started(method);
            Counted {
                method,
                started: counters.stopwatch(),
                context: inner.context.clone(),
            }
        });
        let reply = match grpc::check_leader(&inner.context, request.headers()) {
            Ok(()) => inner.services.call(request),
            Err(status) => Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        Answer {
            reply,
            deadline,
            counted,
        }
    }
}

/// gRPC is spoken over HTTP/2 only; an HTTP/1 request is one for a page, whatever it says it is.
fn is_grpc(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    request.version() == Version::HTTP_2
        && headers
            .get(::http::header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// A reply on its way out.
pub(crate) struct Answer {
    reply: BoxFuture<'static, Result<Reply, Infallible>>,
    /// Taken by the reply's body.
    deadline: Option<Deadline>,
    counted: Option<Counted>,
}

struct Counted {
    method: usize,
    started: Option<detcd_rt::Instant>,
    context: Arc<Context>,
}

impl Answer {
    fn ready(reply: Reply) -> Answer {
        Answer {
            reply: Box::pin(std::future::ready(Ok(reply))),
            deadline: None,
            counted: None,
        }
    }
}

impl Future for Answer {
    type Output = Result<Reply, Infallible>;

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut reply = match self.reply.as_mut().poll(task) {
            Poll::Ready(Ok(reply)) => reply,
            Poll::Pending => {
                let Some(deadline) = &mut self.deadline else {
                    return Poll::Pending;
                };
                ready!(deadline.poll(task));
                // What the call waits for goes with it.
                self.reply = Box::pin(std::future::pending());
                exceeded().into_http()
            }
        };
        // A reply without messages carries its status in the headers: those are the errors.
        let code = match reply.headers().get("grpc-status") {
            Some(value) => {
                let code = Code::from_bytes(value.as_bytes());
                reword(code, reply.headers_mut());
                Code::from_bytes(reply.headers()["grpc-status"].as_bytes())
            }
            None => Code::Ok,
        };
        let mut streams = false;
        if let Some(counted) = self.counted.take() {
            streams = metrics::METHODS[counted.method].streams();
            counted
                .context
                .metrics
                .handled(counted.method, code, counted.started);
        }
        // Only the messages of a stream come later than the reply itself.
        Poll::Ready(Ok(match self.deadline.take() {
            Some(deadline) if streams => deadline.limit(reply),
            _ => reply,
        }))
    }
}

/// What tonic says of a message that it cannot take, in grpc-go's words and codes.
fn reword(code: Code, headers: &mut HeaderMap) {
    let Some(message) = headers
        .get("grpc-message")
        .and_then(|value| value.to_str().ok())
    else {
        return;
    };
    if let Some((code, text)) = grpc::transport_words(code, &unescape(message)) {
        headers.insert("grpc-status", HeaderValue::from(code as i32));
        if let Ok(text) = HeaderValue::from_str(&text) {
            headers.insert("grpc-message", text);
        }
    }
}

/// Undoes the percent escapes of gRPC's status messages.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = (byte == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_messages_are_unescaped() {
        assert_eq!(unescape("Error%2C a%20b 100% %zz"), "Error, a b 100% %zz");
    }
}
