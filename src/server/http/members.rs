//! `/v2/members` and `/v2/machines`: the membership as etcd's v2 API shows and changes it.

use super::{JSON, TEXT, auth, credentials, nothing, problem, respond};
use crate::server::Context;
use crate::server::listen::Reply;
use ::http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use detcd_core::api::{Member, MemberId};
use detcd_core::error::Error;
use detcd_core::url;
use detcd_wire::status::status;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

const MEMBERS: &str = "/v2/members";
const MACHINES: &str = "/v2/machines";
const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");
/// What a body that names a few URLs may have.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What a client is told of a request that is refused.
pub(super) struct Refusal(pub StatusCode, pub String);

#[derive(Serialize)]
struct Collection {
    members: Vec<Shown>,
}

/// A member as v2 shows it.
#[derive(Serialize)]
struct Shown {
    id: String,
    name: String,
    #[serde(rename = "peerURLs")]
    peer_urls: Vec<String>,
    #[serde(rename = "clientURLs")]
    client_urls: Vec<String>,
}

#[derive(Deserialize)]
struct PeerUrls {
    #[serde(rename = "peerURLs", default)]
    peer_urls: Option<Vec<String>>,
}

impl From<Member> for Shown {
    fn from(member: Member) -> Shown {
        Shown {
            id: format!("{:x}", member.id.0),
            name: member.name,
            peer_urls: member.peer_urls,
            client_urls: member.client_urls,
        }
    }
}

/// Whether the path is one of those that are served here.
pub(super) fn is_path(path: &str) -> bool {
    let below = path.strip_prefix(MEMBERS);
    path == MACHINES || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(super) async fn serve(context: &Context, request: Request<Incoming>) -> Reply {
    let path = request.uri().path().to_owned();
    if path == MACHINES {
        return match *request.method() {
            Method::GET | Method::HEAD => machines(context).await,
            _ => not_allowed(Some("GET,HEAD")),
        };
    }
    let name = path[MEMBERS.len()..].trim_start_matches('/');
    let is_change = [Method::POST, Method::PUT, Method::DELETE].contains(request.method());
    if is_change {
        let caller = credentials::of(context, request.headers(), request.extensions());
        if let Err(error) = context.service.v2_admit_change(&caller).await {
            return auth::refusal(error).reply();
        }
    }
    let served = match *request.method() {
        Method::GET => get(context, name).await,
        Method::POST => add(context, request).await,
        Method::PUT => match id(name) {
            Ok(Some(id)) => update(context, id, request).await,
            Ok(None) => Ok(not_allowed(None)),
            Err(refusal) => Err(refusal),
        },
        Method::DELETE => match id(name) {
            Ok(Some(id)) => remove(context, id).await,
            Ok(None) => Ok(not_allowed(None)),
            Err(refusal) => Err(refusal),
        },
        _ => return not_allowed(Some("GET,POST,DELETE,PUT")),
    };
    let mut reply = served.unwrap_or_else(Refusal::reply);
    let cluster = context.handle.header_now().cluster_id.0;
    let cluster = HeaderValue::from_str(&format!("{cluster:x}")).expect("digits");
    reply.headers_mut().insert(CLUSTER_ID, cluster);
    reply
}

async fn machines(context: &Context) -> Reply {
    let members = context.service.v2_members().await.unwrap_or_default();
    let urls = members.into_iter().flat_map(|member| member.client_urls);
    let mut urls: Vec<String> = urls.collect();
    urls.sort_unstable();
    respond(StatusCode::OK, TEXT, urls.join(", "))
}

async fn get(context: &Context, name: &str) -> Result<Reply, Refusal> {
    match name {
        "" => {
            let members = context.service.v2_members().await.map_err(internal)?;
            let members = members.into_iter().map(Shown::from).collect();
            Ok(line(StatusCode::OK, &Collection { members }))
        }
        "leader" => match context.service.v2_leader().await.map_err(internal)? {
            Some(leader) => Ok(line(StatusCode::OK, &Shown::from(leader))),
            None => {
                let why = "During election".to_owned();
                Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, why))
            }
        },
        _ => Err(Refusal(StatusCode::NOT_FOUND, "Not found".to_owned())),
    }
}

async fn add(context: &Context, request: Request<Incoming>) -> Result<Reply, Refusal> {
    let urls = peer_urls(request).await?;
    let added = context.service.v2_member_add(&urls).await;
    match added {
        Ok(member) => Ok(line(StatusCode::CREATED, &Shown::from(member))),
        Err(error) => Err(refusal(context, None, error)),
    }
}

async fn update(
    context: &Context,
    id: MemberId,
    request: Request<Incoming>,
) -> Result<Reply, Refusal> {
    let urls = peer_urls(request).await?;
    match context.service.v2_member_update(id, &urls).await {
        Ok(()) => Ok(nothing(StatusCode::NO_CONTENT)),
        // A removed member is not told apart here.
        Err(Error::MemberNotFound) => Err(no_such_member(&format!("{:x}", id.0))),
        Err(error) => Err(refusal(context, Some(id), error)),
    }
}

async fn remove(context: &Context, id: MemberId) -> Result<Reply, Refusal> {
    match context.service.v2_member_remove(id).await {
        Ok(()) => Ok(nothing(StatusCode::NO_CONTENT)),
        Err(error) => {
            if error != Error::MemberNotFound {
                let (member_id, error) = (format!("{:x}", id.0), status(&error).1);
                tracing::error!(member_id, error, "error removing member");
            }
            Err(refusal(context, Some(id), error))
        }
    }
}

/// The id in a path; `None` if there is nothing.
fn id(name: &str) -> Result<Option<MemberId>, Refusal> {
    if name.is_empty() {
        return Ok(None);
    }
    let is_hex = name.bytes().all(|byte| byte.is_ascii_hexdigit());
    match u64::from_str_radix(name, 16) {
        Ok(id) if is_hex => Ok(Some(MemberId(id))),
        _ => Err(no_such_member(name)),
    }
}

async fn peer_urls(request: Request<Incoming>) -> Result<Vec<String>, Refusal> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.map_or("".into(), |kind| String::from_utf8_lossy(kind.as_bytes()));
    let kind = match kind.split_once(';') {
        Some((kind, _)) => kind.to_lowercase().trim().to_owned(),
        None => kind.into_owned(),
    };
    if kind != JSON {
        let why = format!("Bad Content-Type {kind}, accept application/json");
        return Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let bad = |why: String| Refusal(StatusCode::BAD_REQUEST, why);
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    let body = body.await.map_err(|error| bad(error.to_string()))?;
    let body = body.to_bytes();
    if body.is_empty() {
        return Err(bad("unexpected end of JSON input".to_owned()));
    }
    let read: PeerUrls = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
    let urls = url::parse_all(read.peer_urls.unwrap_or_default());
    let urls = urls.map_err(|error| bad(error.to_string()))?;
    Ok(urls.iter().map(|url| url.as_str().to_owned()).collect())
}

fn refusal(context: &Context, id: Option<MemberId>, error: Error) -> Refusal {
    let id_text = id.map_or(String::new(), |id| format!("{:x}", id.0));
    let conflict = |what: &str| Refusal(StatusCode::CONFLICT, format!("membership: {what} exists"));
    match (error, id) {
        (Error::PeerUrlExists, _) => conflict("peerURL"),
        (Error::MemberExists, _) => conflict("ID"),
        (Error::MemberNotFound, Some(id)) => match context.service.v2_is_removed(id) {
            Ok(true) => {
                let why = format!("Member permanently removed: {id_text}");
                Refusal(StatusCode::GONE, why)
            }
            _ => no_such_member(&id_text),
        },
        (error, _) => internal(error),
    }
}

fn no_such_member(id: &str) -> Refusal {
    Refusal(StatusCode::NOT_FOUND, format!("No such member: {id}"))
}

/// What etcd says of every other error.
fn internal(error: Error) -> Refusal {
    tracing::warn!(%error, "a v2 request about members failed");
    let why = "Internal Server Error".to_owned();
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, why)
}

impl Refusal {
    pub fn reply(self) -> Reply {
        let Refusal(status, message) = self;
        let mut body = b"{\"message\":".to_vec();
        super::keys::string(&mut body, message.as_bytes());
        body.push(b'}');
        respond(status, JSON, body)
    }
}

fn line(status: StatusCode, value: &impl Serialize) -> Reply {
    let body = serde_json::to_string(value).expect("structs of strings have a JSON form");
    respond(status, JSON, format!("{body}\n"))
}

pub(super) fn not_allowed(methods: Option<&'static str>) -> Reply {
    let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    if let Some(methods) = methods {
        let methods = HeaderValue::from_static(methods);
        reply.headers_mut().insert(header::ALLOW, methods);
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_ids_are_told_apart() {
        for path in [
            "/v2/members",
            "/v2/members/",
            "/v2/members/1f",
            "/v2/machines",
        ] {
            assert!(is_path(path), "{path}");
        }
        for path in ["/v2/memberships", "/v2/machines/", "/v2", "/members"] {
            assert!(!is_path(path), "{path}");
        }
        assert!(matches!(id("1f"), Ok(Some(MemberId(0x1f)))));
        assert!(matches!(id(""), Ok(None)));
        for name in ["+1", "x", "11111111111111111"] {
            assert!(id(name).is_err(), "{name}");
        }
    }
}
