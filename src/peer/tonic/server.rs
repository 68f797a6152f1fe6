//! The receiving side: a tonic service for the peer port.

use super::codec::{FrameCodec, RawCodec};
use super::identity::{self, Identity};
use super::{CALL_BYTES_MAX, CALLS_MAX, MESSAGE_BYTES_MAX, PATH_CALLS, PATH_STREAM, SERVICE};
use crate::frame::Frame;
use crate::{Kind, Receiver};
use ::tonic::body::Body;
use ::tonic::codegen::{BoxFuture, Service};
use ::tonic::server::{ClientStreamingService, Grpc, NamedService, StreamingService};
use ::tonic::{Request, Response, Status, Streaming};
use bytes::Bytes;
use detcd_net::limits::{PEER_BYTES_PER_SECOND_MIN, UNFINISHED_BYTES_MAX};
use detcd_net::message::{Expected, Unfinished, WholeMessages};
use detcd_rt::{Instant, RepeatedLines};
use futures::stream::{FuturesUnordered, StreamExt};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, warn};

/// Answers other members. Mount it on the peer port (`Routes::new`, `Server::add_service`).
#[derive(Clone)]
pub struct PeerService {
    identity: Identity,
    receiver: Arc<dyn Receiver>,
    lines: Arc<RepeatedLines>,
    unfinished: Unfinished,
}

impl PeerService {
    pub fn new(member: u64, cluster: u64, receiver: Arc<dyn Receiver>) -> PeerService {
        PeerService {
            identity: Identity { member, cluster },
            receiver,
            lines: Arc::default(),
            unfinished: Unfinished::new(
                UNFINISHED_BYTES_MAX,
                PEER_BYTES_PER_SECOND_MIN,
                Into::into,
            ),
        }
    }

    /// The sender of an acceptable request.
    fn admit<T>(&self, request: &Request<T>) -> Result<u64, Status> {
        let checked = self.identity.check(request.metadata());
        if let Err(refusal) = &checked
            && let Some(left_out) = self.lines.take("refused", Instant::now())
        {
            let reason = refusal.message();
            warn!(reason, left_out, "refused a connection of a peer");
        }
        checked
    }
}

impl NamedService for PeerService {
    const NAME: &'static str = SERVICE;
}

impl<B> Service<http::Request<B>> for PeerService
where
    B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = self.clone();
        let request = request.map(|body| {
            WholeMessages::new(body, Expected::Any, MESSAGE_BYTES_MAX, &service.unfinished)
        });
        Box::pin(async move {
            Ok(match request.uri().path() {
                PATH_CALLS => {
                    let mut grpc = Grpc::new(FrameCodec)
                        .max_decoding_message_size(MESSAGE_BYTES_MAX)
                        .max_encoding_message_size(MESSAGE_BYTES_MAX);
                    grpc.streaming(Calls(service), request).await
                }
                PATH_STREAM => {
                    let mut grpc = Grpc::new(RawCodec)
                        .max_decoding_message_size(MESSAGE_BYTES_MAX)
                        .max_encoding_message_size(MESSAGE_BYTES_MAX);
                    grpc.client_streaming(Chunks(service), request).await
                }
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

struct Calls(PeerService);

impl StreamingService<Frame> for Calls {
    type Response = Frame;
    type ResponseStream = ReceiverStream<Result<Frame, Status>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<Frame>>) -> Self::Future {
        let PeerService { receiver, .. } = self.0.clone();
        let from = self.0.admit(&request);
        Box::pin(async move {
            let from = from?;
            receiver.connected(from);
            let (answers, stream) = mpsc::channel(CALLS_MAX);
            detcd_rt::spawn(answer_calls(from, receiver, request.into_inner(), answers));
            Ok(Response::new(ReceiverStream::new(stream)))
        })
    }
}

/// Works on the calls of one connection until it ends. Each call is first polled in the order in
/// which it came.
async fn answer_calls(
    from: u64,
    receiver: Arc<dyn Receiver>,
    mut frames: Streaming<Frame>,
    answers: mpsc::Sender<Result<Frame, Status>>,
) {
    let mut running = FuturesUnordered::new();
    let mut running_bytes = 0;
    loop {
        let has_room = running.len() < CALLS_MAX && running_bytes < CALL_BYTES_MAX;
        tokio::select! {
            biased;
            Some((answer, bytes)) = running.next(), if !running.is_empty() => {
                running_bytes -= bytes;
                if answers.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
            frame = frames.next(), if has_room => match frame {
                Some(Ok(Frame::Request { call, kind, body })) => {
                    let bytes = body.len();
                    running_bytes += bytes;
                    let answer = receiver.call(from, kind, body);
                    running.push(async move {
                        let answer = match answer.await {
                            Ok(body) => Frame::Answer { call, body },
                            Err(reason) => Frame::Refusal { call, reason },
                        };
                        (answer, bytes)
                    });
                }
                Some(Ok(other)) => {
                    let error = Status::invalid_argument(format!("{other:?} is no request"));
                    // The connection ends either way.
                    let _ = answers.send(Err(error)).await;
                    return;
                }
                Some(Err(error)) => {
                    debug!(from = format_args!("{from:x}"), %error, "a peer's connection broke");
                    return;
                }
                None => return,
            },
        }
    }
}

struct Chunks(PeerService);

impl ClientStreamingService<Bytes> for Chunks {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let PeerService { receiver, .. } = self.0.clone();
        let from = self.0.admit(&request);
        Box::pin(async move {
            let from = from?;
            let tag = identity::read_kind(request.metadata())?;
            let kind = Kind::from_tag(tag)
                .ok_or_else(|| Status::invalid_argument(format!("no kind {tag}")))?;
            let chunks = request
                .into_inner()
                .map(|chunk| chunk.map_err(|error| error.to_string()));
            match receiver.stream(from, kind, chunks.boxed()).await {
                Ok(answer) => Ok(Response::new(answer)),
                Err(reason) => Err(Status::failed_precondition(reason)),
            }
        })
    }
}
