//! The client port: gRPC goes to the service, everything else to the HTTP paths.
//!
//! This is the hot path: a request passes no router, no lock and no layer, and what is counted (by
//! [`super::call_count`]) is an atomic each. Errors of tonic get the words of grpc-go here, which
//! etcd's clients match on.

use super::Context;
use super::call_count::CallCount;
use super::deadline::{Deadline, exceeded};
use super::grpc::{self, GrpcServer};
use super::http::HttpPaths;
use super::http2;
use super::listen::Reply;
use ::http::{Request, Version};
use detcd_service::Method;
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
pub(crate) struct ClientPort {
    inner: Arc<Inner>,
}

struct Inner {
    grpc: GrpcServer,
    paths: HttpPaths,
    context: Arc<Context>,
}

impl ClientPort {
    pub fn new(context: Arc<Context>) -> ClientPort {
        let grpc = GrpcServer::new(&context);
        let paths = HttpPaths::new(context.clone());
        ClientPort {
            inner: Arc::new(Inner {
                grpc,
                paths,
                context,
            }),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for ClientPort {
    type Response = Reply;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<Incoming>) -> ResponseFuture {
        let inner = &self.inner;
        if !is_grpc(&request) {
            return ResponseFuture {
                reply: inner.paths.answer(request),
                deadline: None,
                count: None,
                streams: false,
            };
        }
        let method = Method::find(grpc::path(&request));
        let context = &inner.context;
        if let Err(status) = context.metrics.count_client(method, request.headers()) {
            return ResponseFuture::ready(status.into_http());
        }
        let deadline = match Deadline::of(request.headers()) {
            Ok(deadline) => deadline,
            Err(status) => return ResponseFuture::ready(status.into_http()),
        };
        ResponseFuture {
            deadline,
            count: method.map(|method| CallCount::start(context.clone(), method)),
            streams: method.is_some_and(Method::streams),
            reply: inner.grpc.call(method, request),
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
pub(crate) struct ResponseFuture {
    reply: BoxFuture<'static, Result<Reply, Infallible>>,
    /// Taken by the reply's body.
    deadline: Option<Deadline>,
    count: Option<CallCount>,
    /// Whether messages may go on coming after the head of the reply.
    streams: bool,
}

impl ResponseFuture {
    fn ready(reply: Reply) -> ResponseFuture {
        ResponseFuture {
            reply: Box::pin(std::future::ready(Ok(reply))),
            deadline: None,
            count: None,
            streams: false,
        }
    }
}

impl Future for ResponseFuture {
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
        let refused = refused.map(|code| grpc::reword(code, reply.headers_mut()));
        let (deadline, count) = (self.deadline.take(), self.count.take());
        if self.streams && refused.is_none() {
            // The messages come later than the head, and what is to come ends with them.
            if let Some(deadline) = deadline {
                reply = deadline.limit(reply);
            }
            if let Some(count) = count {
                reply = count.follow(reply);
            }
        } else if let Some(count) = count {
            count.end(refused.unwrap_or(Code::Ok));
        }
        Poll::Ready(Ok(reply))
    }
}
