//! gRPC without knowing any message: calls as lists of raw messages, for the recording proxy and
//! for the server that replays.

use bytes::{Buf as _, BufMut as _, Bytes};
use detcd_wire::etcdserverpb as pb;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio_stream::Stream;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::StreamingService;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

/// One call: where to, and what was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    pub path: String,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Request(Bytes),
    Response(Bytes),
    /// The server ended the call: a code of gRPC and a text.
    End(i32, String),
}

pub type Answers = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What answers calls.
pub trait Backend: Send + Sync + 'static {
    fn answer(
        self: Arc<Self>,
        path: String,
        requests: Streaming<Bytes>,
    ) -> Boxed<Result<Response<Answers>, Status>>;
}

/// Messages as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Serves `backend` on a port of the system's choice, as long as the runtime lives.
pub async fn serve(backend: Arc<dyn Backend>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("an address");
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let routes = axum::Router::new().fallback_service(RawService(backend));
    let routes = tonic::service::Routes::from(routes);
    tokio::spawn(async move {
        let served = tonic::transport::Server::builder().add_routes(routes);
        served
            .serve_with_incoming(incoming)
            .await
            .expect("the listener is ours");
    });
    address
}

#[derive(Clone)]
struct RawService(Arc<dyn Backend>);

impl tower::Service<axum::extract::Request> for RawService {
    type Response = axum::response::Response;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: axum::extract::Request) -> Self::Future {
        let one = One {
            backend: self.0.clone(),
            path: request.uri().path().to_owned(),
        };
        Box::pin(async move {
            let request = request.map(Body::new);
            let response = tonic::server::Grpc::new(Raw).streaming(one, request).await;
            Ok(response.map(axum::body::Body::new))
        })
    }
}

struct One {
    backend: Arc<dyn Backend>,
    path: String,
}

impl StreamingService<Bytes> for One {
    type Response = Bytes;
    type ResponseStream = Answers;
    type Future = Boxed<Result<Response<Answers>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        self.backend
            .clone()
            .answer(self.path.clone(), request.into_inner())
    }
}

/// Raises an alarm for a member.
pub async fn raise(channel: Channel, member_id: u64, kind: &str) {
    let kind = pb::AlarmType::from_str_name(kind).expect("a kind of alarm");
    let request = pb::AlarmRequest {
        action: pb::alarm_request::AlarmAction::Activate.into(),
        member_id,
        alarm: kind.into(),
    };
    let mut client = pb::maintenance_client::MaintenanceClient::new(channel);
    client.alarm(request).await.expect("an alarm is raised");
}
