//! The client port's one door: gRPC goes to the services, everything else to the HTTP paths.
//!
//! This is the hot path: a request passes no router, no lock and no layer, and what is counted (by
//! [`super::counted`]) is an atomic each. The door also gives transport errors the words of grpc-go,
//! which etcd's clients match on.

use super::Context;
use super::counted::Counted;
use super::deadline::{Deadline, exceeded};
use super::grpc::{self, Services};
use super::http::Pages;
use super::http2;
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
                streams: false,
            };
        }
        let method = metrics::method(grpc::path(&request));
        let context = &inner.context;
        if let Err(status) = context.metrics.count_client(method, request.headers()) {
            return Answer::ready(status.into_http());
        }
        let deadline = match Deadline::of(request.headers()) {
            Ok(deadline) => deadline,
            Err(status) => return Answer::ready(status.into_http()),
        };
        let counted = method.map(|method| Counted::start(context.clone(), method));
        let reply = match grpc::check_leader(context, request.headers()) {
            Ok(()) => inner.services.call(request),
            Err(status) => Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        Answer {
            reply,
            deadline,
            counted,
            streams: method.is_some_and(|method| metrics::METHODS[method].streams()),
        }
    }
}

/// gRPC is spoken over HTTP/2 only; an HTTP/1 request is one for a page, whatever it says it is.
fn is_grpc(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    request.version() == Version::HTTP_2
        && headers
            .get(::http::header::CONTENT_TYPE)
            .is_some_and(|value| http2::is_grpc(value.as_bytes()))
}

/// A reply on its way out.
pub(crate) struct Answer {
    reply: BoxFuture<'static, Result<Reply, Infallible>>,
    /// Taken by the reply's body.
    deadline: Option<Deadline>,
    counted: Option<Counted>,
    /// Whether messages may go on coming after the head of the reply.
    streams: bool,
}

impl Answer {
    fn ready(reply: Reply) -> Answer {
        Answer {
            reply: Box::pin(std::future::ready(Ok(reply))),
            deadline: None,
            counted: None,
            streams: false,
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
        let status = reply.headers().get("grpc-status");
        let refused = status.map(|code| Code::from_bytes(code.as_bytes()));
        let refused = refused.map(|code| reword(code, reply.headers_mut()));
        let (deadline, counted) = (self.deadline.take(), self.counted.take());
        if self.streams && refused.is_none() {
            // The messages come later than the head, and what is to come ends with them.
            if let Some(deadline) = deadline {
                reply = deadline.limit(reply);
            }
            if let Some(counted) = counted {
                reply = counted.follow(reply);
            }
        } else if let Some(counted) = counted {
            counted.end(refused.unwrap_or(Code::Ok));
        }
        Poll::Ready(Ok(reply))
    }
}

/// What tonic says of a message that it cannot take, in grpc-go's words and codes. Gives the code.
fn reword(code: Code, headers: &mut HeaderMap) -> Code {
    let words = headers
        .get("grpc-message")
        .and_then(|value| value.to_str().ok())
        .and_then(|message| grpc::transport_words(code, &unescape(message)));
    let Some((code, text)) = words else {
        return code;
    };
    headers.insert("grpc-status", HeaderValue::from(code as i32));
    if let Ok(text) = HeaderValue::from_str(&text) {
        headers.insert("grpc-message", text);
    }
    code
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
