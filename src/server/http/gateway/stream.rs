//! Calls whose replies go on coming: each is a line, `{"result":...}`.

use super::super::JSON;
use super::call::{Call, answered_by_grpc, json, message, within};
use super::error;
use super::route::Route;
use super::values::{ValueError, Values};
use crate::server::Context;
use crate::server::call_count::CallCount;
use crate::server::deadline::Deadline;
use crate::server::listen::Reply as HttpReply;
use ::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use detcd_service::{CallError, Failure, Messages, Replies};
use futures::future::BoxFuture;
use futures::stream::{self, Stream, StreamExt as _};
use std::convert::Infallible;
use std::sync::Arc;
use tonic::Code;

/// Answers a call of one message.
pub(super) async fn server(call: Call, message: Bytes) -> Result<HttpReply, Failure> {
    let method = call.route.method;
    call.context.metrics.received(method);
    let service = call.context.service.clone();
    let opened = service.server_stream(method, call.caller.clone(), message);
    open(call, opened).await
}

/// Answers a call of any number of messages, of which the first has come already, if there is one.
pub(super) async fn bidi(
    call: Call,
    first: Option<Bytes>,
    values: Values,
) -> Result<HttpReply, Failure> {
    let method = call.route.method;
    let service = call.context.service.clone();
    let messages = messages(&call, first, values);
    let opened = service.bidi_stream(method, call.caller.clone(), messages);
    open(call, opened).await
}

/// The messages of a body. As with etcd's gateway, a client that sends what is none has ended, and
/// goes on being answered.
fn messages(call: &Call, first: Option<Bytes>, values: Values) -> Messages {
    let (context, route) = (call.context.clone(), call.route.clone());
    let bytes_max = call.message_bytes_max;
    let ended = first.is_none();
    let rest = stream::unfold(
        (values, route, ended),
        move |(mut values, route, ended)| async move {
            if ended {
                return None;
            }
            let next = match values.next().await {
                Ok(Some(json)) => message(&route, &json, bytes_max),
                Ok(None) => return None,
                Err(error) => Err(error),
            };
            match next {
                Ok(message) => Some((Ok(message), (values, route, false))),
                Err(ValueError::Malformed(_)) => None,
                Err(ValueError::Refused(failure)) => {
                    Some((Err(CallError::Transport(failure)), (values, route, true)))
                }
            }
        },
    );
    let method = call.route.method;
    let all = stream::iter(first.map(Ok)).chain(rest);
    all.inspect(move |message| {
        if message.is_ok() {
            context.metrics.received(method);
        }
    })
    .boxed()
}

/// The head waits for the first reply, as a stream that fails before it has a status.
async fn open(
    mut call: Call,
    opened: BoxFuture<'static, Result<Replies, CallError>>,
) -> Result<HttpReply, Failure> {
    let replies = match within(&mut call.deadline, opened).await {
        Ok(replies) => replies,
        Err(failure) => {
            call.count.end(Code::from(failure.code));
            return Ok(failed(&failure));
        }
    };
    let mut open = Open {
        replies,
        deadline: call.deadline,
        count: Some(call.count),
        context: call.context,
        route: call.route,
    };
    let first = match open.next().await {
        Some(Err(failure)) => return Ok(failed(&failure)),
        first => first.and_then(Result::ok),
    };
    let has_first = first.is_some();
    let body = axum::body::Body::from_stream(lines(first, open));
    let mut reply = with_body(StatusCode::OK, body);
    if has_first {
        answered_by_grpc(&mut reply);
    }
    Ok(reply)
}

/// The answer to a stream that failed before its first reply.
fn failed(failure: &Failure) -> HttpReply {
    let status = error::status(Code::from(failure.code));
    with_body(status, error::line(failure).into())
}

fn with_body(status: StatusCode, body: axum::body::Body) -> HttpReply {
    let mut reply = Response::new(tonic::body::Body::new(body));
    *reply.status_mut() = status;
    let json = HeaderValue::from_static(JSON);
    reply.headers_mut().insert(header::CONTENT_TYPE, json);
    reply
}

fn lines(first: Option<Bytes>, open: Open) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let rest = stream::unfold(open, |mut open| async {
        let line = match open.next().await? {
            Ok(line) => line,
            Err(failure) => error::line(&failure),
        };
        Some((line, open))
    });
    stream::iter(first).chain(rest).map(Ok)
}

/// A stream of replies under way.
struct Open {
    replies: Replies,
    deadline: Option<Deadline>,
    /// `None` once the stream has ended.
    count: Option<CallCount>,
    context: Arc<Context>,
    route: Route,
}

impl Open {
    /// The next line. Nothing comes after a failure.
    async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        self.count.as_ref()?;
        let Open {
            replies, deadline, ..
        } = self;
        let next = async { replies.next().await.transpose() };
        let line = match within(deadline, next).await {
            Ok(Some(reply)) => {
                self.context.metrics.sent(self.route.method);
                let line = json(&self.route, reply, ["{\"result\":", "}\n"]).await;
                line.map(|line| Some(Bytes::from(line)))
            }
            Ok(None) => Ok(None),
            Err(failure) => Err(failure),
        };
        let code = match &line {
            Ok(Some(_)) => return line.transpose(),
            Ok(None) => Code::Ok,
            Err(failure) => Code::from(failure.code),
        };
        if let Some(count) = self.count.take() {
            count.end(code);
        }
        line.transpose()
    }
}
