//! The port of the other members: their calls, and etcd's two pages about the cluster.

use super::Context;
use super::http::{json, not_found, only_get, problem, version};
use super::listen::Reply;
use crate::members_page::MemberEntry;
use crate::probe::Probe;
use ::http::{HeaderValue, Method, Request, StatusCode};
use detcd_peer::Receiver;
use detcd_peer::tonic::PeerService;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tonic::server::NamedService;
use tower::Service as _;

/// The service of the peer port. Cheap to clone.
#[derive(Clone)]
pub(crate) struct PeerPort {
    context: Arc<Context>,
    calls: PeerService,
}

impl PeerPort {
    pub fn new(context: Arc<Context>, receiver: Arc<dyn Receiver>) -> PeerPort {
        let header = context.handle.header(0);
        let calls = PeerService::new(header.member_id.0, header.cluster_id.0, receiver);
        PeerPort { context, calls }
    }
}

impl hyper::service::Service<Request<Incoming>> for PeerPort {
    type Response = Reply;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Reply, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if service(request.uri().path()) == Some(PeerService::NAME) {
            return self.calls.clone().call(request);
        }
        let context = self.context.clone();
        Box::pin(async move { Ok(page(&context, &request).await) })
    }
}

/// The first part of a path. There is none in the path of a CONNECT, which is empty.
fn service(path: &str) -> Option<&str> {
    path.strip_prefix('/')?.split('/').next()
}

async fn page(context: &Context, request: &Request<Incoming>) -> Reply {
    match request.uri().path() {
        "/version" | "/members" | Probe::PATH if request.method() != Method::GET => only_get(),
        "/version" => version(context),
        "/members" => members(context).await,
        Probe::PATH => json(&Probe::at(Duration::from_millis(detcd_rt::wall_unix_ms()))),
        _ => not_found(),
    }
}

async fn members(context: &Context) -> Reply {
    match context.handle.member_list(false).await {
        Ok((header, members)) => {
            let rows: Vec<MemberEntry> = members.into_iter().map(Into::into).collect();
            let mut reply = json(&rows);
            if let Ok(id) = HeaderValue::from_str(&header.cluster_id.to_string()) {
                reply.headers_mut().insert("x-etcd-cluster-id", id);
            }
            reply
        }
        Err(error) => {
            let text = detcd_wire::status::status(&error).1;
            problem(StatusCode::INTERNAL_SERVER_ERROR, text)
        }
    }
}
