//! gRPC's framing of the service, and gRPC's own services (health, reflection).

mod framing;
mod words;

pub(crate) use words::reword;

use super::Context;
use super::listen::Reply;
use super::receive::{self, Expected, Unfinished, WholeMessages};
use ::http::{HeaderMap, Request};
use bytes::Bytes;
use detcd_core::limits::REQUEST_OVERHEAD_BYTES;
use detcd_net::tls::PeerName;
use detcd_service::{Caller, Credentials, Method, Rpc, Streaming};
use framing::{FramedCall, MessageCodec};
use futures::future::BoxFuture;
use hyper::body::Incoming;
use std::convert::Infallible;
use std::sync::Arc;
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tonic::server::Grpc;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::Service as _;

/// How the messages of a request are compressed.
const ENCODING: &str = "grpc-encoding";
/// What its client can read.
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";

/// Everything that the client port serves over gRPC.
#[derive(Clone)]
pub(crate) struct GrpcServer {
    context: Arc<Context>,
    health: HealthServer<HealthService>,
    reflection: tonic::service::Routes,
    message_bytes_max: usize,
    unfinished: Unfinished,
}

impl GrpcServer {
    pub fn new(context: &Arc<Context>) -> GrpcServer {
        let health = HealthService::from_health_reporter(HealthReporter::new());
        GrpcServer {
            context: context.clone(),
            health: HealthServer::new(health),
            reflection: reflection(),
            message_bytes_max: context.options.max_request_bytes + REQUEST_OVERHEAD_BYTES,
            unfinished: receive::unfinished(),
        }
    }

    /// Answers one request.
    pub fn call(
        &self,
        method: Option<&'static Method>,
        mut request: Request<Incoming>,
    ) -> BoxFuture<'static, Result<Reply, Infallible>> {
        let Some(method) = method else {
            return refuse(words::of_unknown(path(&request)));
        };
        compress_alike(request.headers_mut());
        let by_certificate = match self.context.options.client_cert_auth {
            true => request.extensions().get::<PeerName>(),
            false => None,
        };
        let caller = caller(request.headers(), by_certificate);
        let expected = match method.streaming {
            Streaming::Unary | Streaming::Server => Expected::One,
            Streaming::Bidi => Expected::Any,
        };
        let request = request.map(|body| {
            WholeMessages::new(body, expected, self.message_bytes_max, &self.unfinished)
        });
        if !is_grpcs_own(method) {
            return self.frame(method, caller, request);
        }
        if let Err(error) = self.context.service.check(method, &caller) {
            return refuse(words::of_call(error.into()));
        }
        match method.rpc {
            Rpc::HealthCheck | Rpc::HealthWatch => self.health.clone().call(request),
            _ => Box::pin(self.reflection.clone().call(request)),
        }
    }

    /// Has the service answer.
    fn frame(
        &self,
        method: &'static Method,
        caller: Caller,
        request: Request<WholeMessages<Incoming>>,
    ) -> BoxFuture<'static, Result<Reply, Infallible>> {
        // Responses are compressed if their requests were (see `compress_alike`).
        let mut grpc = Grpc::new(MessageCodec)
            .max_decoding_message_size(self.message_bytes_max)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let call = FramedCall {
            context: self.context.clone(),
            method,
            caller,
        };
        match method.streaming {
            Streaming::Unary => Box::pin(async move { Ok(grpc.unary(call, request).await) }),
            Streaming::Server => {
                Box::pin(async move { Ok(grpc.server_streaming(call, request).await) })
            }
            Streaming::Bidi => Box::pin(async move { Ok(grpc.streaming(call, request).await) }),
        }
    }
}

/// Whether gRPC's framing answers the method itself.
fn is_grpcs_own(method: &Method) -> bool {
    matches!(
        method.rpc,
        Rpc::HealthCheck | Rpc::HealthWatch | Rpc::Reflection | Rpc::ReflectionAlpha
    )
}

/// Who asks, by the request's metadata, or else by the certificate.
pub(crate) fn caller(headers: &HeaderMap, by_certificate: Option<&PeerName>) -> Caller {
    // The gateway's clients send the second.
    let token = headers
        .get("token")
        .or_else(|| headers.get("authorization"));
    // etcd's gateway, whose certificate is not its clients', marks what it passes on.
    let common_name = by_certificate
        .filter(|_| !headers.contains_key("grpcgateway-accept"))
        .and_then(|peer| peer.common_name.as_deref());
    let credentials = match (token, common_name) {
        (Some(token), _) => Credentials::Token(Bytes::copy_from_slice(token.as_bytes())),
        (None, Some(name)) => Credentials::CommonName(name.to_owned()),
        (None, None) => Credentials::None,
    };
    Caller {
        credentials,
        requires_leader: headers.get("hasleader").is_some_and(|it| it == "true"),
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

/// A client that compresses gets compressed responses, if it can read them; one that only could
/// read them is spared the time that compression takes, as grpc-go's servers do.
fn compress_alike(headers: &mut HeaderMap) {
    let compresses = headers
        .get(ENCODING)
        .is_some_and(|encoding| encoding != "identity");
    if !compresses {
        headers.remove(ACCEPT_ENCODING);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use detcd_service::METHODS;
    use prost::Message as _;
    use prost_types::FileDescriptorSet;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_has_grpcs_own_methods() {
        let described = [
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut paths = BTreeSet::new();
        for set in described {
            let set = FileDescriptorSet::decode(set).expect("descriptors");
            for file in &set.file {
                for service in &file.service {
                    for method in &service.method {
                        let (package, service) = (file.package(), service.name());
                        paths.insert(format!("/{package}.{service}/{}", method.name()));
                    }
                }
            }
        }
        let table = METHODS.iter().filter(|method| is_grpcs_own(method));
        let table: BTreeSet<String> = table.map(|method| method.path.to_owned()).collect();
        assert_eq!(table, paths);
    }

    #[test]
    fn metadata_tells_who_asks() {
        let mut headers = HeaderMap::new();
        assert_eq!(caller(&headers, None), Caller::default());
        let certificate = PeerName {
            common_name: Some("c".into()),
        };
        let by_name = caller(&headers, Some(&certificate)).credentials;
        assert_eq!(by_name, Credentials::CommonName("c".to_owned()));
        headers.insert("grpcgateway-accept", "x".parse().unwrap());
        assert_eq!(caller(&headers, Some(&certificate)), Caller::default());
        headers.insert("hasleader", "true".parse().unwrap());
        headers.insert("authorization", "a".parse().unwrap());
        let by = |token: &'static str| Caller {
            credentials: Credentials::Token(Bytes::from_static(token.as_bytes())),
            requires_leader: true,
        };
        assert_eq!(caller(&headers, Some(&certificate)), by("a"));
        headers.insert("token", "t".parse().unwrap());
        assert_eq!(caller(&headers, None), by("t"));
    }
}
