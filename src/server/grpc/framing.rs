//! Between gRPC's frames and the service: messages in and out, and errors as statuses. What is
//! written here holds for every method alike.

use super::words;
use crate::server::Context;
use bytes::{Buf as _, Bytes};
use detcd_service::{CallError, Caller, Failure, Messages, Method, Replies, Reply};
use futures::future::{self, BoxFuture, FutureExt as _};
use futures::stream::{BoxStream, StreamExt as _};
use std::sync::Arc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{ServerStreamingService, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};

/// A call whose messages tonic reads and writes.
pub(super) struct FramedCall {
    pub context: Arc<Context>,
    pub method: &'static Method,
    pub caller: Caller,
}

impl UnaryService<Bytes> for FramedCall {
    type Response = Reply;
    type Future = future::Map<
        BoxFuture<'static, Result<Reply, CallError>>,
        fn(Result<Reply, CallError>) -> Result<Response<Reply>, Status>,
    >;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let caller = std::mem::take(&mut self.caller);
        let answered = self
            .context
            .service
            .unary(self.method, caller, request.into_inner());
        answered.map(|answered| answered.map(Response::new).map_err(words::of_call))
    }
}

type Responses = BoxStream<'static, Result<Reply, Status>>;

impl ServerStreamingService<Bytes> for FramedCall {
    type Response = Reply;
    type ResponseStream = Responses;
    type Future = BoxFuture<'static, Result<Response<Responses>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let caller = std::mem::take(&mut self.caller);
        self.context.metrics.received(self.method);
        let opened = self
            .context
            .service
            .server_stream(self.method, caller, request.into_inner());
        self.responses(opened)
    }
}

impl StreamingService<Bytes> for FramedCall {
    type Response = Reply;
    type ResponseStream = Responses;
    type Future = BoxFuture<'static, Result<Response<Responses>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let caller = std::mem::take(&mut self.caller);
        let messages = self.messages(request.into_inner());
        let opened = self
            .context
            .service
            .bidi_stream(self.method, caller, messages);
        self.responses(opened)
    }
}

impl FramedCall {
    fn messages(&self, messages: Streaming<Bytes>) -> Messages {
        let (context, method) = (self.context.clone(), self.method);
        let messages = messages.map(move |message| match message {
            Ok(message) => {
                context.metrics.received(method);
                Ok(message)
            }
            Err(status) => {
                let status = words::of_broken_stream(status);
                Err(CallError::Transport(Failure {
                    code: status.code() as i32,
                    text: status.message().to_owned().into(),
                }))
            }
        });
        messages.boxed()
    }

    fn responses(
        &self,
        opened: BoxFuture<'static, Result<Replies, CallError>>,
    ) -> BoxFuture<'static, Result<Response<Responses>, Status>> {
        let (context, method) = (self.context.clone(), self.method);
        let responses = move |replies: Replies| {
            let responses = replies.map(move |reply| {
                let reply = reply.map_err(words::of_stream)?;
                context.metrics.sent(method);
                Ok(reply)
            });
            Response::new(responses.boxed())
        };
        opened
            .map(|opened| opened.map(responses).map_err(words::of_stream))
            .boxed()
    }
}

/// Gives messages as they came, and encodes replies right into the frame.
#[derive(Clone, Copy, Default)]
pub(super) struct MessageCodec;

impl Codec for MessageCodec {
    type Encode = Reply;
    type Decode = Bytes;
    type Encoder = MessageCodec;
    type Decoder = MessageCodec;

    fn encoder(&mut self) -> MessageCodec {
        MessageCodec
    }

    fn decoder(&mut self) -> MessageCodec {
        MessageCodec
    }
}

impl Encoder for MessageCodec {
    type Item = Reply;
    type Error = Status;

    fn encode(&mut self, reply: Reply, frame: &mut EncodeBuf<'_>) -> Result<(), Status> {
        frame.reserve(reply.encoded_len());
        reply.encode(frame);
        Ok(())
    }
}

impl Decoder for MessageCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, frame: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(frame.copy_to_bytes(frame.remaining())))
    }
}
