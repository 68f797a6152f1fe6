//! One request of the gateway: from JSON and headers to a call of the service, and back.

use super::super::{JSON, respond};
use super::error::failure;
use super::json::{read, write};
use super::metadata;
use super::route::Route;
use super::stream;
use super::values::{Body, HeldBytes, ValueError, Values};
use crate::server::Context;
use crate::server::call_count::CallCount;
use crate::server::deadline::{Deadline, exceeded};
use crate::server::grpc;
use crate::server::listen::Reply as HttpReply;
use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use bytes::{Bytes, BytesMut};
use detcd_core::limits::REQUEST_OVERHEAD_BYTES;
use detcd_net::limits::JSON_BYTES_PER_BYTE;
use detcd_service::{CallError, Caller, Failure, Reply, Streaming};
use prost::Message as _;
use prost_reflect::DynamicMessage;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use tonic::Code;

/// As etcd's gateway passes on what its own gRPC call was told.
const CONTENT_TYPE: HeaderName = HeaderName::from_static("grpc-metadata-content-type");

/// A reply of up to this size is made JSON in the task of its call.
const WRITTEN_AT_ONCE_BYTES_MAX: usize = 256 * 1024;

/// What the calls of one member share.
pub(super) struct Calls {
    context: Arc<Context>,
    /// What a message may have once it is one.
    message_bytes_max: usize,
    held: HeldBytes,
}

/// A call that may begin.
pub(super) struct Call {
    pub context: Arc<Context>,
    pub route: Route,
    pub caller: Caller,
    pub deadline: Option<Deadline>,
    pub message_bytes_max: usize,
    pub count: CallCount,
}

impl Calls {
    pub fn new(context: Arc<Context>) -> Calls {
        Calls {
            message_bytes_max: context.options.max_request_bytes + REQUEST_OVERHEAD_BYTES,
            context,
            held: HeldBytes::default(),
        }
    }

    /// What one value of a body may have.
    pub fn value_bytes_max(&self) -> usize {
        self.message_bytes_max.saturating_mul(JSON_BYTES_PER_BYTE)
    }

    pub async fn answer(
        &self,
        route: &Route,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<HttpReply, Failure> {
        let method = route.method;
        let metadata = metadata::of(headers);
        let deadline = Deadline::of(headers).map_err(|_| {
            let timeout = headers.get("grpc-timeout").map(HeaderValue::as_bytes);
            let timeout = String::from_utf8_lossy(timeout.unwrap_or_default());
            failure(
                Code::InvalidArgument,
                format!("invalid grpc-timeout: {timeout}"),
            )
        })?;
        let mut values = Values::new(body, self.value_bytes_max(), self.held.clone());
        let first = values.next().await;
        // etcd's gateway has a status for one of them only.
        let malformed = match method.streaming {
            Streaming::Unary | Streaming::Server => Code::InvalidArgument,
            Streaming::Bidi => Code::Unknown,
        };
        let first = first.map_err(|error| error.failure(malformed))?;
        let first = first.map(|json| message(route, &json, self.message_bytes_max));
        let first = first
            .transpose()
            .map_err(|error| error.failure(malformed))?;
        let counted = self.context.metrics.count_client(Some(method), &metadata);
        counted.map_err(|status| failure(status.code(), status.message()))?;
        let call = Call {
            context: self.context.clone(),
            route: route.clone(),
            caller: grpc::caller(&metadata, None),
            deadline,
            message_bytes_max: self.message_bytes_max,
            count: CallCount::start(self.context.clone(), method),
        };
        match method.streaming {
            Streaming::Unary => call.unary(first.unwrap_or_default()).await,
            Streaming::Server => stream::server(call, first.unwrap_or_default()).await,
            Streaming::Bidi => stream::bidi(call, first, values).await,
        }
    }
}

impl Call {
    async fn unary(mut self, message: Bytes) -> Result<HttpReply, Failure> {
        let service = &self.context.service;
        let answered = service.unary(self.route.method, self.caller, message);
        let reply = match within(&mut self.deadline, answered).await {
            Ok(reply) => reply,
            Err(failure) => {
                self.count.end(Code::from(failure.code));
                return Err(failure);
            }
        };
        self.count.end(Code::Ok);
        let json = json(&self.route, reply, ["", ""]).await?;
        let mut reply = respond(StatusCode::OK, JSON, json);
        answered_by_grpc(&mut reply);
        Ok(reply)
    }
}

/// What a call comes to, if it does so in time.
pub(super) async fn within<T>(
    deadline: &mut Option<Deadline>,
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, Failure> {
    let expired = poll_fn(|context| match deadline {
        Some(deadline) => deadline.poll(context),
        None => Poll::Pending,
    });
    tokio::select! {
        biased;
        done = call => done.map_err(|error| error.failure()),
        () = expired => {
            let status = exceeded();
            Err(failure(status.code(), status.message()))
        }
    }
}

/// The message that a value stands for, as it is sent.
pub(super) fn message(route: &Route, json: &[u8], bytes_max: usize) -> Result<Bytes, ValueError> {
    let message =
        read::message(&route.request, json.trim_ascii()).map_err(ValueError::Malformed)?;
    let length = message.encoded_len();
    if length > bytes_max {
        let text = format!("grpc: received message larger than max ({length} vs. {bytes_max})");
        return Err(ValueError::Refused(failure(Code::ResourceExhausted, text)));
    }
    Ok(message.encode_to_vec().into())
}

/// A reply as JSON between two texts. Nobody waits behind a large one: it has a thread of its own.
pub(super) async fn json(
    route: &Route,
    reply: Reply,
    around: [&'static str; 2],
) -> Result<Vec<u8>, Failure> {
    let length = reply.encoded_len();
    let descriptor = route.reply.clone();
    let write = move || {
        let mut bytes = BytesMut::with_capacity(length);
        reply.encode(&mut bytes);
        let message = DynamicMessage::decode(descriptor, bytes.freeze());
        let message = message.map_err(|error| failure(Code::Internal, error.to_string()))?;
        let mut json = around[0].as_bytes().to_vec();
        write::message(&message, &mut json);
        json.extend_from_slice(around[1].as_bytes());
        Ok(json)
    };
    match length <= WRITTEN_AT_ONCE_BYTES_MAX {
        true => write(),
        false => match detcd_rt::spawn_blocking(write).await {
            Ok(written) => written,
            Err(_) => Err(failure(Code::Internal, "the reply was not written")),
        },
    }
}

/// Says so in the head, as etcd's gateway does.
pub(super) fn answered_by_grpc(reply: &mut HttpReply) {
    let grpc = HeaderValue::from_static("application/grpc");
    reply.headers_mut().insert(CONTENT_TYPE, grpc);
}
