//! etcd's JSON gateway: `/v3/` as HTTP around the service, as grpc-gateway is around etcd's.
//!
//! A path leads to a method ([`route`]), the body's values ([`values`]) become messages by the
//! descriptors of that method ([`json`]), and the service answers, as it answers gRPC. Nothing is
//! written here for a method by itself.

mod call;
mod error;
mod json;
mod metadata;
mod route;
mod stream;
mod values;
mod websocket;

use super::keys::{Target, moved, target, unreadable_path};
use super::problem;
use crate::server::Context;
use crate::server::listen::Reply;
use ::http::{HeaderMap, Method, Request, StatusCode};
use call::Calls;
use detcd_net::tls::PeerName;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use route::Routes;
use std::sync::Arc;
use values::{Body, Broken};

/// The root, and what etcd 3.3 called it.
const ROOTS: [&str; 2] = ["/v3/", "/v3beta/"];

/// The gateway of one member.
pub(super) struct Gateway {
    routes: Routes,
    calls: Calls,
}

/// Whether the path is one of those that are served here.
pub(super) fn is_path(path: &str) -> bool {
    path == "/v3" || ROOTS.iter().any(|root| path.starts_with(root))
}

/// etcd's words.
const NAMES_ARE_IGNORED: &str = "CommonName of client sending a request against gateway will be \
                                 ignored and not used as expected";

/// The refusal of a client whose certificate has a common name, by which it would be known as a user
/// anywhere else.
pub(super) fn refused<B>(context: &Context, request: &Request<B>) -> Option<Reply> {
    let has_name = || {
        let peer = request.extensions().get::<PeerName>();
        peer.is_some_and(|peer| peer.common_name.as_deref().is_some_and(|it| !it.is_empty()))
    };
    let options = &context.options;
    let is_gateway = options.enable_grpc_gateway
        && ROOTS
            .iter()
            .any(|root| request.uri().path().starts_with(root));
    let is_refused = is_gateway
        && options.client_cert_auth
        && has_name()
        && context.handle.auth_known().is_enabled();
    is_refused.then(|| problem(StatusCode::BAD_REQUEST, NAMES_ARE_IGNORED))
}

impl Gateway {
    pub fn new(context: Arc<Context>) -> Gateway {
        Gateway {
            routes: Routes::new(),
            calls: Calls::new(context),
        }
    }

    pub async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Reply {
        if websocket::is_wanted(request.headers()) {
            return websocket::open(self, request);
        }
        let (head, body) = request.into_parts();
        let path = match target(head.uri.path()) {
            None => return unreadable_path(),
            Some(Target::Moved(path)) => return moved(&head, &path),
            Some(Target::Clean(path)) if path == b"/v3" => return moved(&head, b"/v3/"),
            Some(Target::Clean(path)) => path,
        };
        let path = std::str::from_utf8(&path).unwrap_or_default();
        let body = body.into_data_stream();
        let body = body.map(|piece| piece.map_err(|_| Broken)).boxed();
        self.answer(path, &head.method, &head.headers, body).await
    }

    /// Answers what is asked of a path.
    async fn answer(&self, path: &str, method: &Method, headers: &HeaderMap, body: Body) -> Reply {
        let below = ROOTS.iter().find_map(|root| path.strip_prefix(root));
        let Some(route) = below.and_then(|path| self.routes.find(path)) else {
            return problem(StatusCode::NOT_FOUND, "Not Found");
        };
        if *method != Method::POST {
            return problem(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        }
        let answered = self.calls.answer(route, headers, body).await;
        answered.unwrap_or_else(|failure| error::reply(&failure))
    }

    /// What one value of a body may have.
    fn value_bytes_max(&self) -> usize {
        self.calls.value_bytes_max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_has_two_roots() {
        for path in ["/v3", "/v3/", "/v3/kv/range", "/v3beta/kv/range"] {
            assert!(is_path(path), "{path}");
        }
        for path in ["/v3x", "/v3beta", "/v3alpha/kv/range", "/v2/keys", "/"] {
            assert!(!is_path(path), "{path}");
        }
    }
}
