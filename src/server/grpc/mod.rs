//! The gRPC services, a file each, and what they share.

mod cluster;
mod kv;
mod lease;
mod maintenance;
mod watch;

use super::Context;
use super::listen::Reply;
use super::receive::{Expected, Unfinished, WholeMessages};
use ::http::{HeaderMap, Request};
use detcd_core::error::Error;
use detcd_core::limits::REQUEST_OVERHEAD_BYTES;
use detcd_driver::Header;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::header::Headed;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Response, Status};
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::Service;

use pb::cluster_server::ClusterServer;
use pb::kv_server::KvServer;
use pb::lease_server::LeaseServer;
use pb::maintenance_server::MaintenanceServer;
use pb::watch_server::WatchServer;

/// What calls may have received of messages that are not whole, together.
const UNFINISHED_BYTES_MAX: usize = 512 * 1024 * 1024;

/// How the messages of a request are compressed.
const ENCODING: &str = "grpc-encoding";
/// What its client can read.
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";

/// Every service of the client port.
#[derive(Clone)]
pub(crate) struct Services {
    context: Arc<Context>,
    kv: KvServer<kv::Kv>,
    watch: WatchServer<watch::Watching>,
    lease: LeaseServer<lease::Leases>,
    cluster: ClusterServer<cluster::Members>,
    maintenance: MaintenanceServer<maintenance::Upkeep>,
    health: HealthServer<HealthService>,
    reflection: tonic::service::Routes,
    message_bytes_max: usize,
    unfinished: Unfinished,
}

impl Services {
    pub fn new(context: &Arc<Context>) -> Services {
        let bytes_max = context.options.max_request_bytes + REQUEST_OVERHEAD_BYTES;
        let health = HealthService::from_health_reporter(HealthReporter::new());
        // Requests may be compressed. Answers are if their requests were (see `answer_alike`).
        macro_rules! service {
            ($server:ident, $service:expr) => {
                $server::new($service)
                    .max_decoding_message_size(bytes_max)
                    .accept_compressed(CompressionEncoding::Gzip)
                    .send_compressed(CompressionEncoding::Gzip)
            };
        }
        Services {
            context: context.clone(),
            kv: service!(KvServer, kv::Kv::new(context.clone())),
            watch: service!(WatchServer, watch::Watching::new(context.clone())),
            lease: service!(LeaseServer, lease::Leases::new(context.clone())),
            cluster: service!(ClusterServer, cluster::Members::new(context.clone())),
            maintenance: service!(MaintenanceServer, maintenance::Upkeep::new(context.clone())),
            health: HealthServer::new(health),
            reflection: reflection(),
            message_bytes_max: bytes_max,
            unfinished: Unfinished::up_to(UNFINISHED_BYTES_MAX),
        }
    }

    /// Answers one request.
    pub fn call(
        &self,
        mut request: Request<Incoming>,
    ) -> BoxFuture<'static, Result<Reply, Infallible>> {
        answer_alike(request.headers_mut());
        let path = path(&request);
        let name = path.strip_prefix('/').unwrap_or(path);
        let Some((service, name)) = name.rsplit_once('/') else {
            let words = format!("malformed method name: {path:?}");
            return refuse(Status::unimplemented(words));
        };
        let Some(known) = super::metrics::method(path) else {
            return refuse(unknown(service, name));
        };
        if !serves_learner(service, name) && self.context.handle.is_learner() {
            return refuse(fail(&Error::LearnerUnsupported));
        }
        let method = &super::metrics::METHODS[known];
        let expected = match method.takes_stream() {
            true => Expected::Any,
            false => Expected::One,
        };
        let request = request.map(|body| {
            WholeMessages::new(body, expected, self.message_bytes_max, &self.unfinished)
        });
        match method.names().0 {
            "etcdserverpb.KV" => self.kv.clone().call(request),
            "etcdserverpb.Watch" => self.watch.clone().call(request),
            "etcdserverpb.Lease" => self.lease.clone().call(request),
            "etcdserverpb.Cluster" => self.cluster.clone().call(request),
            "etcdserverpb.Maintenance" => self.maintenance.clone().call(request),
            "grpc.health.v1.Health" => self.health.clone().call(request),
            _ => Box::pin(self.reflection.clone().call(request)),
        }
    }
}

/// The path of a call as etcd reads it, which knows no query.
pub(crate) fn path<B>(request: &Request<B>) -> &str {
    let path = request.uri().path_and_query();
    path.map_or("", |path| path.as_str())
}

/// etcd has no reflection; here any generic client can find out what there is.
fn reflection() -> tonic::service::Routes {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(detcd_wire::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = builder()
        .build_v1()
        .expect("descriptors that the build made");
    let v1alpha = builder()
        .build_v1alpha()
        .expect("descriptors that the build made");
    tonic::service::Routes::new(v1).add_service(v1alpha)
}

fn refuse(status: Status) -> BoxFuture<'static, Result<Reply, Infallible>> {
    Box::pin(std::future::ready(Ok(status.into_http())))
}

/// Whether a learner answers the method, as etcd's do; of ranges only what is serializable, and
/// reflection, which etcd does not have.
fn serves_learner(service: &str, method: &str) -> bool {
    match service {
        "etcdserverpb.KV" => method == "Range",
        "etcdserverpb.Maintenance" => matches!(method, "Status" | "Snapshot"),
        _ => service.starts_with("grpc.reflection."),
    }
}

/// A client that compresses is answered alike, if it can read that; one that only could read it is
/// spared the time that compression takes, as grpc-go's servers do.
fn answer_alike(headers: &mut HeaderMap) {
    let compresses = headers
        .get(ENCODING)
        .is_some_and(|encoding| encoding != "identity");
    if !compresses {
        headers.remove(ACCEPT_ENCODING);
    }
}

/// What grpc-go says of a method that is not there.
fn unknown(service: &str, method: &str) -> Status {
    let known = super::metrics::METHODS
        .iter()
        .any(|known| known.path[1..].split('/').next() == Some(service));
    Status::unimplemented(match known {
        true => format!("unknown method {method} for service {service}"),
        false => format!("unknown service {service}"),
    })
}

/// A client that sends `hasleader` wants no answer from a member without a leader.
pub(crate) fn check_leader(context: &Context, headers: &HeaderMap) -> Result<(), Status> {
    match wants_leader(headers) && context.handle.leader().borrow().is_none() {
        true => Err(fail(&Error::NoLeader)),
        false => Ok(()),
    }
}

fn wants_leader(headers: &HeaderMap) -> bool {
    headers
        .get("hasleader")
        .is_some_and(|value| value == "true")
}

/// Ends once the member has been without a leader for so long that a stream which wants one is to
/// be ended. Never ends for a stream that does not.
async fn leader_lost(context: &Context, wanted: bool) {
    if !wanted {
        return std::future::pending().await;
    }
    let patience: Duration = context.options.election_timeout * 3;
    let mut leader = context.handle.leader();
    loop {
        // The sender goes with the member, and then every stream ends anyway.
        if leader.wait_for(Option::is_none).await.is_err() {
            return;
        }
        if detcd_rt::timeout(patience, leader.wait_for(Option::is_some))
            .await
            .is_err()
        {
            return;
        }
    }
}

/// `error` as the client is told.
fn fail(error: &Error) -> Status {
    detcd_wire::status::grpc(error)
}

/// `reply` with its header, on its way out.
fn ok<R: Headed>(header: Header, reply: impl Into<R>) -> Result<Response<R>, Status> {
    Ok(Response::new(reply.into().with_header(pb_header(header))))
}

fn pb_header(header: Header) -> pb::ResponseHeader {
    detcd_wire::header::header(
        header.cluster_id,
        header.member_id,
        header.revision,
        header.raft_term,
    )
}

/// What a later version will offer is refused in plain words.
fn unsupported<T>(what: &str) -> Result<T, Status> {
    Err(Status::unimplemented(format!(
        "etcdserver: {what} is not supported by this version of detcd"
    )))
}

/// tonic's words for a message that cannot be taken, as grpc-go's code and words; `None` for what
/// is not about the transport.
pub(crate) fn transport_words(code: Code, text: &str) -> Option<(Code, String)> {
    match code {
        Code::OutOfRange => {
            let sizes = text.strip_prefix("Error, decoded message length too large: found ")?;
            let (found, limit) = sizes.split_once(" bytes, the limit is: ")?;
            let limit = limit.strip_suffix(" bytes")?;
            let words = format!("grpc: received message larger than max ({found} vs. {limit})");
            Some((Code::ResourceExhausted, words))
        }
        Code::ResourceExhausted => {
            let limit = text.strip_prefix("Error decompressing: size limit, of ")?;
            let (limit, _) = limit.split_once(" bytes")?;
            // How large it is once it is whole, nobody has found out.
            let words =
                format!("grpc: received message larger than max (more than {limit} vs. {limit})");
            Some((Code::ResourceExhausted, words))
        }
        Code::Unimplemented => {
            let encoding = text.strip_prefix("Content is compressed with `")?;
            let (encoding, _) = encoding.split_once('`')?;
            let words =
                format!("grpc: Decompressor is not installed for grpc-encoding {encoding:?}");
            Some((Code::Unimplemented, words))
        }
        Code::Internal if text.starts_with("Error decompressing: ") => {
            let why = text.trim_start_matches("Error decompressing: ");
            let why = why.trim_end_matches(", while sending request");
            Some((
                Code::Internal,
                format!("grpc: failed to decompress the received message {why}"),
            ))
        }
        Code::Internal if text.starts_with("failed to decode Protobuf message") => {
            let (_, why) = text.split_once(": ").unwrap_or(("", text));
            let why = without_path(why);
            Some((
                Code::Internal,
                format!("grpc: error unmarshalling request: {why}"),
            ))
        }
        Code::Internal
            if text.contains("compression flag") && text.contains("no grpc-encoding") =>
        {
            let words = "grpc: compressed flag set with identity or empty encoding";
            Some((Code::Internal, words.to_owned()))
        }
        _ => None,
    }
}

/// What is wrong with a message; of the fields around it, which repeat where messages lie in one
/// another, only the outermost.
fn without_path(why: &str) -> String {
    let (Some((field, _)), Some((path, problem))) = (why.split_once(": "), why.rsplit_once(": "))
    else {
        return why.to_owned();
    };
    match (problem, path == field) {
        ("recursion limit reached", _) => {
            format!("{field}: messages lie too deep in one another: nest fewer transactions")
        }
        (_, true) => why.to_owned(),
        (_, false) => format!("{field}: {problem}"),
    }
}

/// As [`transport_words`], for an error in the middle of a stream, where grpc-go has other words
/// for bytes that are no message.
fn stream_error(status: Status) -> Status {
    match transport_words(status.code(), status.message()) {
        Some((code, words)) => Status::new(
            code,
            words.replace(
                "grpc: error unmarshalling request:",
                "grpc: failed to unmarshal the received message:",
            ),
        ),
        None => status,
    }
}
