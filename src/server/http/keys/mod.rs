//! `/v2/keys`: HTTP around the service's v2 keys.

mod form;
mod json;
mod path;
mod request;

pub(super) use json::{string, time};
pub(super) use path::{Target, target};

use super::{JSON, TEXT, credentials, not_found, nothing, problem, respond};
use crate::server::Context;
use crate::server::listen::Reply;
use ::http::request::Parts;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use bytes::Bytes;
use detcd_core::error::Error;
use detcd_core::v2::{self, Code, Dialect, Refused};
use detcd_driver::V2Watch;
use detcd_net::limits::HEAD_TIMEOUT;
use detcd_service::{KeysBody, KeysMethod};
use detcd_wire::status::status as status_text;
use form::Form;
use futures::stream::{self, Stream};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::sync::Arc;

const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");
const INDEX: HeaderName = HeaderName::from_static("x-etcd-index");
const RAFT_INDEX: HeaderName = HeaderName::from_static("x-raft-index");
const RAFT_TERM: HeaderName = HeaderName::from_static("x-raft-term");
const METHODS: HeaderValue = HeaderValue::from_static("HEAD,GET,PUT,POST,DELETE");

/// Whether the path is one of those that are served here.
pub(super) fn is_path(path: &str) -> bool {
    target(path).is_some_and(|target| target.is_keys())
}

/// Whether the path has an escape that is none.
pub(super) fn is_unreadable(path: &str) -> bool {
    path.contains('%') && target(path).is_none()
}

/// Serves a request of `/v2/keys`.
pub(super) async fn serve(context: &Context, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let path = match target(head.uri.path()) {
        None => return unreadable_path(),
        Some(Target::Moved(path)) => return moved(&head, &path),
        Some(Target::Clean(_)) if !context.options.enable_v2 => return not_found(),
        Some(Target::Clean(path)) => path,
    };
    let Some(method) = method(&head.method) else {
        return not_allowed();
    };
    let mut reply = match answer(context, method, &path, &head, body).await {
        Ok(reply) => reply,
        Err(refused) => refusal(&refused, context.options.v2_dialect),
    };
    let cluster = context.handle.header_now().cluster_id.0;
    insert(reply.headers_mut(), CLUSTER_ID, format!("{cluster:x}"));
    reply
}

async fn answer(
    context: &Context,
    method: KeysMethod,
    path: &[u8],
    head: &Parts,
    body: Incoming,
) -> Result<Reply, Refused> {
    let form = form(context, method, head, body).await;
    let form = form.map_err(|error| Refused::request(Code::InvalidForm, error))?;
    let asked_path = path.strip_prefix(path::KEYS).unwrap_or_default();
    let path = v2::clean(asked_path);
    let (mut request, without_nodes) = request::request(method, path, &form)?;
    request.asked_path = Bytes::copy_from_slice(asked_path);
    let caller = credentials::caller(context, head);
    let done = context.service.v2_keys(&caller, request).await?;
    let mut reply = match done.body {
        KeysBody::Event(event) => {
            let changes = matches!(method, KeysMethod::Put | KeysMethod::Post);
            let status = match event.is_created() {
                true => StatusCode::CREATED,
                false => StatusCode::OK,
            };
            let nodes = !(without_nodes && changes);
            let dialect = context.options.v2_dialect;
            respond(status, JSON, json::event(&event, nodes, dialect))
        }
        KeysBody::Watch(watch) => watching(watch, context.options.v2_dialect),
    };
    let raft = context.handle.published();
    let term = context.handle.header_now().raft_term;
    let headers = reply.headers_mut();
    insert(headers, INDEX, done.index.to_string());
    insert(headers, RAFT_INDEX, raft.applied.to_string());
    insert(headers, RAFT_TERM, term.to_string());
    Ok(reply)
}

/// The parameters of a request, once its body is here.
async fn form(
    context: &Context,
    method: KeysMethod,
    head: &Parts,
    body: Incoming,
) -> Result<Form, String> {
    let query = head.uri.query().unwrap_or_default();
    if !matches!(method, KeysMethod::Put | KeysMethod::Post) {
        return Form::parse(None, query);
    }
    let kind = head.headers.get(header::CONTENT_TYPE);
    let kind = kind.map(HeaderValue::as_bytes).unwrap_or_default();
    // A byte may be written as an escape of three.
    let bytes_max = context.options.max_request_bytes.saturating_mul(3);
    let body = Limited::new(body, bytes_max).collect();
    let body = detcd_rt::timeout(HEAD_TIMEOUT, body).await;
    let body = body.map_err(|_| "http: the body did not come in time".to_owned())?;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => "http: POST too large".to_owned(),
        false => "unexpected EOF".to_owned(),
    })?;
    Form::parse(Some((kind, &body.to_bytes())), query)
}

fn method(method: &Method) -> Option<KeysMethod> {
    match *method {
        Method::GET => Some(KeysMethod::Get),
        Method::HEAD => Some(KeysMethod::Head),
        Method::PUT => Some(KeysMethod::Put),
        Method::POST => Some(KeysMethod::Post),
        Method::DELETE => Some(KeysMethod::Delete),
        _ => None,
    }
}

/// The head at once, and each event when it comes.
fn watching(watch: V2Watch, dialect: Dialect) -> Reply {
    let body = axum::body::Body::from_stream(events(watch, dialect));
    let mut reply = ::http::Response::new(tonic::body::Body::new(body));
    let kind = HeaderValue::from_static(JSON);
    reply.headers_mut().insert(header::CONTENT_TYPE, kind);
    reply
}

/// The events as lines. It ends after the first, unless it is a stream; and when the member stops
/// or what comes next is not kept any more.
fn events(watch: V2Watch, dialect: Dialect) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(Some(watch), move |watch| async move {
        let mut watch = watch?;
        let event: Arc<v2::Event> = watch.next().await.ok()?;
        let line = Bytes::from(json::event(&event, true, dialect));
        let rest = watch.is_stream().then_some(watch);
        Some((Ok(line), rest))
    })
}

fn refusal(refused: &Refused, dialect: Dialect) -> Reply {
    let status = match refused.code {
        Code::KeyNotFound => StatusCode::NOT_FOUND,
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::NotAFile | Code::DirectoryNotEmpty => StatusCode::FORBIDDEN,
        Code::CompareFailed | Code::KeyExists => StatusCode::PRECONDITION_FAILED,
        Code::RaftInternal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut reply = match (dialect, refused.code) {
        // etcd 0.2 gives raft's own words.
        (Dialect::Etcd02, Code::RaftInternal) => {
            let is_timeout = refused.cause == status_text(&Error::Timeout).1;
            let text = match is_timeout {
                true => "raft: Command timeout".into(),
                false => String::from_utf8_lossy(&refused.cause),
            };
            respond(status, TEXT, format!("{text}\n"))
        }
        _ => respond(status, JSON, json::refused(refused, dialect)),
    };
    insert(reply.headers_mut(), INDEX, refused.index.to_string());
    reply
}

fn not_allowed() -> Reply {
    let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    reply.headers_mut().insert(header::ALLOW, METHODS);
    reply
}

/// Go's server reads no further after a path that it cannot read.
pub(super) fn unreadable_path() -> Reply {
    let mut reply = respond(StatusCode::BAD_REQUEST, TEXT, "400 Bad Request");
    let close = HeaderValue::from_static("close");
    reply.headers_mut().insert(header::CONNECTION, close);
    reply
}

pub(super) fn moved(head: &Parts, path: &[u8]) -> Reply {
    let location = path::location(path, head.uri.query());
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    let mut reply = match is_read {
        true => {
            let link = location.replace('&', "&amp;");
            let body = format!("<a href=\"{link}\">Moved Permanently</a>.\n\n");
            respond(
                StatusCode::MOVED_PERMANENTLY,
                "text/html; charset=utf-8",
                body,
            )
        }
        false => nothing(StatusCode::MOVED_PERMANENTLY),
    };
    insert(reply.headers_mut(), header::LOCATION, location);
    reply
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    let value = HeaderValue::try_from(value).expect("numbers and escaped paths are header values");
    headers.insert(name, value);
}
