//! The paths of the client port that are not gRPC: for probes, dashboards and people.

mod auth;
mod credentials;
mod gateway;
mod go_json;
mod health;
mod hosts;
mod keys;
mod log_level;
mod members;
mod stats;

use super::Context;
use super::listen::Reply;
use ::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use bytes::Bytes;
use detcd_core::percent;
use futures::future::BoxFuture;
use gateway::Gateway;
use hyper::body::Incoming;
use serde::Serialize;
use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The paths of the client port.
pub(crate) struct HttpPaths {
    context: Arc<Context>,
    gateway: Option<Arc<Gateway>>,
}

impl HttpPaths {
    pub fn new(context: Arc<Context>) -> HttpPaths {
        let enabled = context.options.enable_grpc_gateway;
        let gateway = enabled.then(|| Arc::new(Gateway::new(context.clone())));
        HttpPaths { context, gateway }
    }

    pub fn answer(
        &self,
        request: Request<Incoming>,
    ) -> BoxFuture<'static, Result<Reply, Infallible>> {
        let context = self.context.clone();
        let path = request.uri().path();
        let gateway = self.gateway.clone().filter(|_| gateway::is_path(path));
        Box::pin(async move {
            if let Some(refusal) = hosts::refused(&context.options.host_whitelist, &request) {
                return Ok(refusal);
            }
            if let Some(refusal) = gateway::refused(&context, &request) {
                return Ok(refusal);
            }
            // Go's server reads no further, and knows of no origins then.
            if keys::is_unreadable(request.uri().path()) {
                return Ok(keys::unreadable_path());
            }
            let origin = request.headers().get(header::ORIGIN).cloned();
            let mut reply = match (request.method(), gateway) {
                (&Method::OPTIONS, _) => nothing(StatusCode::OK),
                (_, Some(gateway)) => gateway.serve(request).await,
                _ if keys::is_path(request.uri().path()) => keys::serve(&context, request).await,
                _ if context.options.enable_v2 && members::is_path(request.uri().path()) => {
                    members::serve(&context, request).await
                }
                _ if context.options.enable_v2 && stats::is_path(request.uri().path()) => {
                    stats::serve(&context, request.method(), request.uri().path()).await
                }
                _ if context.options.enable_v2 && auth::is_path(request.uri().path()) => {
                    auth::serve(&context, request).await
                }
                _ if request.uri().path() == log_level::PATH => log_level::serve(request).await,
                _ => page(&context, &request).await,
            };
            allow_browsers(&context.options.cors, origin.as_ref(), reply.headers_mut());
            Ok(reply)
        })
    }
}

async fn page(context: &Context, request: &Request<Incoming>) -> Reply {
    let path = request.uri().path();
    let query = Query(request.uri().query().unwrap_or_default());
    let is_probe = ["/livez", "/readyz"].iter().any(|root| {
        path.strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    match path {
        // Scrapers may ask for the head alone.
        "/metrics" if !matches!(*request.method(), Method::GET | Method::HEAD) => only_get(),
        "/health" | "/version" if request.method() != Method::GET => only_get(),
        "/health" => health::health(context, query).await,
        "/version" => version(context),
        "/metrics" => respond(
            StatusCode::OK,
            METRICS,
            context.metrics.page(&context.options.tls),
        ),
        _ if is_probe && request.method() != Method::GET => only_get(),
        _ if is_probe => health::probe(context, path, query).await,
        _ => not_found(),
    }
}

#[derive(Serialize)]
struct Version<'a> {
    etcdserver: &'a str,
    etcdcluster: String,
    storage: String,
    detcd: &'a str,
}

/// Clients read etcd's versions; what really runs stands beside them.
pub(super) fn version(context: &Context) -> Reply {
    let options = context.service.options();
    let cluster = options.cluster_version();
    json(&Version {
        etcdserver: &options.etcd_version,
        etcdcluster: cluster.clone(),
        storage: cluster,
        detcd: env!("CARGO_PKG_VERSION"),
    })
}

/// The part of a path after `?`.
#[derive(Clone, Copy)]
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// The values of `name`, in order; a name without a value has an empty one.
    pub fn values(self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        self.0
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .filter(move |(key, _)| unescape(key).is_some_and(|key| key == name))
            .filter_map(|(_, value)| unescape(value))
    }

    pub fn has(self, name: &str) -> bool {
        self.values(name).next().is_some()
    }
}

/// Undoes the escapes of a query: `+` is a space, `%4e` the byte of that number. `None` for what is
/// no escape and no text: Go leaves such a pair out.
fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let escaped = percent::escaped(after)?;
                rest = &after[2..];
                escaped
            }
            byte => *byte,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

pub(super) fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let body = axum::body::Body::from(body.into());
    let mut reply = ::http::Response::new(tonic::body::Body::new(body));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// A reply without a body.
pub(super) fn nothing(status: StatusCode) -> Reply {
    let mut reply = respond(status, TEXT, Bytes::new());
    reply.headers_mut().remove(header::CONTENT_TYPE);
    reply
}

pub(super) fn json(value: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(value).expect("structs of strings and numbers have a JSON form");
    respond(StatusCode::OK, JSON, body)
}

/// An error as Go's servers write it: the text and a line feed.
pub(super) fn problem(status: StatusCode, text: &str) -> Reply {
    let mut reply = respond(status, TEXT, format!("{text}\n"));
    let nosniff = HeaderValue::from_static("nosniff");
    reply
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    reply
}

pub(super) fn not_found() -> Reply {
    problem(StatusCode::NOT_FOUND, "404 page not found")
}

pub(super) fn only_get() -> Reply {
    let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    reply
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static("GET"));
    reply
}

/// Lets pages of the allowed origins call from a browser.
pub(super) fn allow_browsers(
    allowed: &[String],
    origin: Option<&HeaderValue>,
    headers: &mut HeaderMap,
) {
    let any = allowed.iter().any(|allowed| allowed == "*");
    let origin = match origin {
        _ if any => Some(HeaderValue::from_static("*")),
        Some(origin)
            if allowed
                .iter()
                .any(|allowed| allowed.as_bytes() == origin.as_bytes()) =>
        {
            Some(origin.clone())
        }
        _ => None,
    };
    let Some(origin) = origin else {
        return;
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("accept, content-type, authorization"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let query = Query("exclude=a&verbose&exclude=b&serializable=true");
        assert_eq!(query.values("exclude").collect::<Vec<_>>(), ["a", "b"]);
        assert!(query.has("verbose") && !query.has("a"));
        let escaped = Query("exclude=%4eOSPACE&e%78clude=a+b&exclude=%4&exclude=%zz&exclude=%ff");
        assert_eq!(
            escaped.values("exclude").collect::<Vec<_>>(),
            ["NOSPACE", "a b"]
        );
    }

    #[test]
    fn browsers_of_allowed_origins_may_call() {
        let allow_origin = |allowed: &[&str], origin: Option<&'static str>| {
            let allowed: Vec<String> = allowed.iter().map(|origin| origin.to_string()).collect();
            let mut headers = HeaderMap::new();
            allow_browsers(
                &allowed,
                origin.map(HeaderValue::from_static).as_ref(),
                &mut headers,
            );
            headers
                .get(header::ACCESS_CONTROL_ALLOW_ORIGIN)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(allow_origin(&["*"], None).as_deref(), Some("*"));
        assert_eq!(
            allow_origin(&["http://a"], Some("http://a")).as_deref(),
            Some("http://a")
        );
        assert_eq!(allow_origin(&["http://a"], Some("http://b")), None);
    }
}
