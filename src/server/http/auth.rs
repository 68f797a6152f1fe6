//! `/v2/auth`: users, roles and whether requests of v2 are judged.

use super::keys::{Target, string, target};
use super::members::{Refusal, not_allowed};
use super::{JSON, credentials, go_json, respond};
use crate::server::Context;
use crate::server::listen::Reply;
use ::http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use bytes::Bytes;
use detcd_core::v2::auth::{Asker, AuthChange, AuthRefused, AuthReply, KeyPaths, Role, User};
use detcd_service::{V2AuthError, V2UserRequest};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::Deserialize;

const ENABLE: &str = "/v2/auth/enable";
const USERS: &str = "/v2/auth/users";
const ROLES: &str = "/v2/auth/roles";
const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");

/// What a path leads to.
enum Place {
    Enable,
    Users,
    User(String),
    Roles,
    Role(String),
    Nowhere,
}

/// A user in a request, with Go's leave to omit every field.
#[derive(Default, Deserialize)]
#[serde(default)]
struct UserBody {
    user: Option<String>,
    password: Option<String>,
    roles: Option<Vec<String>>,
    grant: Option<Vec<String>>,
    revoke: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RoleBody {
    role: Option<String>,
    permissions: Option<PermissionsBody>,
    grant: Option<PermissionsBody>,
    revoke: Option<PermissionsBody>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PermissionsBody {
    kv: Option<PathsBody>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PathsBody {
    read: Option<Vec<String>>,
    write: Option<Vec<String>>,
}

impl From<PermissionsBody> for KeyPaths {
    fn from(body: PermissionsBody) -> KeyPaths {
        let PathsBody { read, write } = body.kv.unwrap_or_default();
        KeyPaths { read, write }
    }
}

/// Whether the path is one of those that are served here.
pub(super) fn is_path(path: &str) -> bool {
    let below = |root: &str| {
        path.strip_prefix(root)
            .is_some_and(|it| it.starts_with('/'))
    };
    [ENABLE, USERS, ROLES].contains(&path) || below(USERS) || below(ROLES)
}

pub(super) async fn serve(context: &Context, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let path = match target(head.uri.path()) {
        Some(Target::Clean(path)) => String::from_utf8_lossy(&path).into_owned(),
        Some(Target::Moved(path)) => return super::keys::moved(&head, &path),
        None => return super::keys::unreadable_path(),
    };
    let place = place(&path);
    let methods = match place {
        Place::Enable | Place::User(_) | Place::Role(_) => "GET,PUT,DELETE",
        Place::Users | Place::Roles => "GET",
        Place::Nowhere => {
            let why = "Invalid path".to_owned();
            return Refusal(StatusCode::BAD_REQUEST, why).reply();
        }
    };
    let method = head.method.clone();
    if !methods.split(',').any(|it| it == method.as_str()) {
        return not_allowed(Some(methods));
    }
    // Whether requests are judged is told to everybody.
    let is_public = matches!(place, Place::Enable) && method == Method::GET;
    let asker = match is_public {
        true => Asker::Guest,
        false => {
            let caller = credentials::caller(context, &head);
            match context.service.v2_admit_change(&caller).await {
                Ok(asker) => asker,
                Err(error) => return refusal(error).reply(),
            }
        }
    };
    let served = answer(context, place, &method, asker, body).await;
    let mut reply = served.unwrap_or_else(Refusal::reply);
    let cluster = context.handle.header_now().cluster_id.0;
    let cluster = HeaderValue::from_str(&format!("{cluster:x}")).expect("digits");
    reply.headers_mut().insert(CLUSTER_ID, cluster);
    reply
}

fn place(path: &str) -> Place {
    let names = |root: &str| {
        let below = path.strip_prefix(root)?.trim_matches('/');
        Some(below.to_owned())
    };
    match (path, names(USERS), names(ROLES)) {
        (ENABLE, ..) => Place::Enable,
        (_, Some(name), _) if name.is_empty() => Place::Users,
        (_, _, Some(name)) if name.is_empty() => Place::Roles,
        (_, Some(name), _) if !name.contains('/') => Place::User(name),
        (_, _, Some(name)) if !name.contains('/') => Place::Role(name),
        _ => Place::Nowhere,
    }
}

async fn answer(
    context: &Context,
    place: Place,
    method: &Method,
    asker: Asker,
    body: Incoming,
) -> Result<Reply, Refusal> {
    let service = &context.service;
    let change = match (place, method) {
        (Place::Enable, &Method::GET) => {
            let enabled = service.v2_auth_enabled().map_err(failed)?;
            return Ok(line(StatusCode::OK, &format!("{{\"enabled\":{enabled}}}")));
        }
        (Place::Users, _) => return users(context),
        (Place::User(name), &Method::GET) => return user(context, name),
        (Place::Roles, _) => {
            let roles = service.v2_roles().map_err(failed)?;
            let roles = format!("{{\"roles\":{}}}", list(roles.iter().map(show_role)));
            return Ok(line(StatusCode::OK, &roles));
        }
        (Place::Role(name), &Method::GET) => {
            let role = service.v2_role(&name).map_err(failed)?;
            let role = role.ok_or_else(|| refusal(AuthRefused::RoleNotFound(name).into()))?;
            return Ok(line(StatusCode::OK, &show_role(&role)));
        }
        (Place::Enable, &Method::PUT) => AuthChange::Enable,
        (Place::Enable, _) => AuthChange::Disable,
        (Place::User(name), &Method::PUT) => {
            let request = user_request(name, &read(context, body).await?)?;
            // Whoever is made with roles is not told to be new, as in etcd.
            let has_roles = gives_roles(&request);
            let put = service.v2_put_user(asker, request).await.map_err(refusal)?;
            return Ok(match put {
                AuthReply::User { user, is_created } => shown(AuthReply::User {
                    user,
                    is_created: is_created && !has_roles,
                }),
                put => shown(put),
            });
        }
        (Place::Role(name), &Method::PUT) => role_change(name, &read(context, body).await?)?,
        (Place::User(name), _) => AuthChange::DeleteUser { name },
        (Place::Role(name), _) => AuthChange::DeleteRole { name },
        (Place::Nowhere, _) => unreachable!("it was refused"),
    };
    let changed = service.v2_auth_change(asker, change).await;
    changed.map(shown).map_err(refusal)
}

async fn read(context: &Context, body: Incoming) -> Result<Bytes, Refusal> {
    let body = Limited::new(body, context.options.max_request_bytes).collect();
    let body = body.await.map_err(|_| invalid_json())?;
    Ok(body.to_bytes())
}

fn invalid_json() -> Refusal {
    bad("Invalid JSON in request body.")
}

fn bad(why: &str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, why.to_owned())
}

fn user_request(name: String, body: &[u8]) -> Result<V2UserRequest, Refusal> {
    let body: UserBody = go_json::read(body).ok_or_else(invalid_json)?;
    if body.user.unwrap_or_default() != name {
        return Err(bad("User JSON name does not match the name in the URL"));
    }
    let request = V2UserRequest {
        name,
        password: body.password.unwrap_or_default(),
        roles: body.roles,
        grant: body.grant.unwrap_or_default(),
        revoke: body.revoke.unwrap_or_default(),
    };
    let is_update = !request.grant.is_empty() || !request.revoke.is_empty();
    if is_update && gives_roles(&request) {
        return Err(bad("User JSON contains both roles and grant/revoke"));
    }
    Ok(request)
}

fn gives_roles(request: &V2UserRequest) -> bool {
    let roles = request.roles.as_ref();
    roles.is_some_and(|roles| !roles.is_empty())
}

fn role_change(name: String, body: &[u8]) -> Result<AuthChange, Refusal> {
    let body: RoleBody = go_json::read(body).ok_or_else(invalid_json)?;
    if body.role.unwrap_or_default() != name {
        return Err(bad("Role JSON name does not match the name in the URL"));
    }
    let paths = KeyPaths::from(body.permissions.unwrap_or_default());
    let [grant, revoke] = [body.grant, body.revoke].map(|it| it.map(KeyPaths::from));
    let is_update = [&grant, &revoke]
        .into_iter()
        .flatten()
        .any(|paths| !paths.is_empty());
    if is_update && !paths.is_empty() {
        return Err(bad("Role JSON contains both permissions and grant/revoke"));
    }
    Ok(AuthChange::PutRole {
        name,
        paths,
        grant,
        revoke,
    })
}

fn users(context: &Context) -> Result<Reply, Refusal> {
    let users = context.service.v2_users().map_err(failed)?;
    let users = match users.is_empty() {
        true => "null".to_owned(),
        false => list(users.iter().map(|(user, roles)| show_user(user, roles))),
    };
    Ok(line(StatusCode::OK, &format!("{{\"users\":{users}}}")))
}

fn user(context: &Context, name: String) -> Result<Reply, Refusal> {
    let user = context.service.v2_user(&name).map_err(failed)?;
    let (user, roles) = user.ok_or_else(|| refusal(AuthRefused::UserNotFound(name).into()))?;
    let missing = user
        .role_names()
        .find(|name| roles.iter().all(|role| role.name != *name));
    match missing {
        Some(role) => Err(refusal(AuthRefused::RoleNotFound(role.to_owned()).into())),
        None => Ok(line(StatusCode::OK, &show_user(&user, &roles))),
    }
}

/// What a change has done, as it is told.
fn shown(reply: AuthReply) -> Reply {
    let status = |is_created| match is_created {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    match reply {
        AuthReply::Done => respond(StatusCode::OK, JSON, Bytes::new()),
        AuthReply::User { user, is_created } => {
            let (name, roles) = (quoted(&user.name), names(user.roles.as_ref()));
            let user = format!("{{\"user\":{name},\"roles\":{roles}}}");
            line(status(is_created), &user)
        }
        AuthReply::Role { role, is_created } => line(status(is_created), &show_role(&role)),
    }
}

fn show_user(user: &User, roles: &[Role]) -> String {
    let name = quoted(&user.name);
    match roles.is_empty() {
        true => format!("{{\"user\":{name}}}"),
        false => {
            let roles = list(roles.iter().map(show_role));
            format!("{{\"user\":{name},\"roles\":{roles}}}")
        }
    }
}

fn show_role(role: &Role) -> String {
    format!(
        "{{\"role\":{},\"permissions\":{{\"kv\":{{\"read\":{},\"write\":{}}}}}}}",
        quoted(&role.name),
        names(role.paths.read.as_ref()),
        names(role.paths.write.as_ref()),
    )
}

fn names(names: Option<&Vec<String>>) -> String {
    let names = names.map(|names| list(names.iter().map(|name| quoted(name))));
    names.unwrap_or_else(|| "null".to_owned())
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    string(&mut out, text.as_bytes());
    String::from_utf8(out).expect("text stays text")
}

fn line(status: StatusCode, body: &str) -> Reply {
    respond(status, JSON, format!("{body}\n"))
}

fn failed(error: detcd_core::error::Error) -> Refusal {
    refusal(error.into())
}

/// An error as a client is told it; who changes members is told so, too.
pub(super) fn refusal(error: V2AuthError) -> Refusal {
    let refused = match error {
        V2AuthError::Refused(refused) => refused,
        V2AuthError::Request(error) => {
            tracing::warn!(%error, "a v2 request about users failed");
            let why = "Internal Server Error".to_owned();
            return Refusal(StatusCode::INTERNAL_SERVER_ERROR, why);
        }
    };
    let status = match refused {
        AuthRefused::InsufficientCredentials => StatusCode::UNAUTHORIZED,
        AuthRefused::EmptyPassword(_)
        | AuthRefused::UserNotUpdated
        | AuthRefused::RoleNotUpdated => StatusCode::BAD_REQUEST,
        AuthRefused::RootUserNeeded | AuthRefused::RootRole(_) => StatusCode::FORBIDDEN,
        AuthRefused::UserNotFound(_)
        | AuthRefused::DeletedUserNotFound(_)
        | AuthRefused::RoleNotFound(_)
        | AuthRefused::DeletedRoleNotFound(_) => StatusCode::NOT_FOUND,
        AuthRefused::AlreadyEnabled
        | AuthRefused::AlreadyDisabled
        | AuthRefused::NoRootUser
        | AuthRefused::UserExists(_)
        | AuthRefused::RoleGranted { .. }
        | AuthRefused::RoleNotGranted { .. }
        | AuthRefused::RoleExists(_)
        | AuthRefused::ReadGranted(_)
        | AuthRefused::WriteGranted(_) => StatusCode::CONFLICT,
    };
    Refusal(status, refused.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        for path in ["/v2/auth/enable", "/v2/auth/users/", "/v2/auth/roles/a/b"] {
            assert!(is_path(path), "{path}");
        }
        for path in ["/v2/auth", "/v2/auth/enable/", "/v2/auth/usersx"] {
            assert!(!is_path(path), "{path}");
        }
        assert!(matches!(place("/v2/auth/users/"), Place::Users));
        assert!(matches!(place("/v2/auth/users/a"), Place::User(name) if name == "a"));
        assert!(matches!(place("/v2/auth/roles/a/b"), Place::Nowhere));
    }
}
