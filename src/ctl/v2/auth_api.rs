//! Requests about users, roles and authentication.

use super::client::{Client, Sending};
use super::context::Context;
use super::error::RequestError;
use super::http::{Request, Response};
use super::members::{Message, decode, expect};
use super::url::{clean_path, escape_path};
use crate::ctl::failure::Failure;
use crate::ctl::output::json::Json;
use detcd_rt as rt;
use serde::Deserialize;

const PREFIX: &str = "/v2/auth";

pub struct AuthApi(Client);

/// A user, as far as it is printed. Its roles come by name or whole.
#[derive(Deserialize)]
pub struct User {
    #[serde(default)]
    pub user: String,
    #[serde(default)]
    roles: Option<Vec<RoleOrName>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RoleOrName {
    Name(String),
    Role(Role),
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Role {
    #[serde(default)]
    pub role: String,
    #[serde(default)]
    pub permissions: Permissions,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Permissions {
    #[serde(default)]
    pub kv: KeyPaths,
}

/// Paths that may be read and written; one that ends with `*` stands for all that begin so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct KeyPaths {
    pub read: Option<Vec<String>>,
    pub write: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Users {
    #[serde(default)]
    users: Option<Vec<User>>,
}

#[derive(Deserialize)]
struct Roles {
    #[serde(default)]
    roles: Option<Vec<RoleOrName>>,
}

/// Whether something is given or taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Grant,
    Revoke,
}

impl Direction {
    fn field(self) -> &'static str {
        match self {
            Direction::Grant => "grant",
            Direction::Revoke => "revoke",
        }
    }
}

impl User {
    pub fn role_names(&self) -> Vec<&str> {
        let roles = self.roles.iter().flatten();
        roles.map(RoleOrName::name).collect()
    }

    /// How many of its roles the server sent whole.
    pub fn whole_roles(&self) -> usize {
        let roles = self.roles.iter().flatten();
        roles
            .filter(|role| matches!(role, RoleOrName::Role(_)))
            .count()
    }
}

impl RoleOrName {
    fn name(&self) -> &str {
        match self {
            RoleOrName::Name(name) => name,
            RoleOrName::Role(role) => &role.role,
        }
    }
}

impl AuthApi {
    pub async fn open(context: &mut Context) -> Result<AuthApi, Failure> {
        let client = Client::synced(context).await?;
        // etcdctl tells it twice.
        client.tell(context, |at| format!("Cluster-Endpoints: {at}"), ", ")?;
        Ok(AuthApi(client))
    }

    pub async fn enable(&mut self, context: &mut Context, on: bool) -> Result<(), RequestError> {
        let method = if on { "PUT" } else { "DELETE" };
        let request = Request::new(method, path(&["enable"]));
        let deadline = context.deadline();
        self.ask(context, &request, &[200, 201], deadline).await?;
        Ok(())
    }

    pub async fn users(&mut self, context: &mut Context) -> Result<Vec<String>, RequestError> {
        let mut request = Request::new("GET", path(&["users"]));
        request.content_type = Some("application/json");
        let deadline = context.deadline();
        let response = self.ask(context, &request, &[200], deadline).await?;
        let users = decode::<Users>(&response)?.users.unwrap_or_default();
        Ok(users.into_iter().map(|user| user.user).collect())
    }

    pub async fn user(&mut self, context: &mut Context, name: &str) -> Result<User, RequestError> {
        let request = Request::new("GET", path(&["users", name]));
        let deadline = context.deadline();
        let response = self.ask(context, &request, &[200], deadline).await?;
        decode(&response)
    }

    pub async fn add_user(
        &mut self,
        context: &mut Context,
        name: &str,
        password: &str,
        deadline: rt::Instant,
    ) -> Result<(), RequestError> {
        let request = set_password(name, password);
        self.ask(context, &request, &[200, 201], deadline).await?;
        Ok(())
    }

    pub async fn change_password(
        &mut self,
        context: &mut Context,
        name: &str,
        password: &str,
        deadline: rt::Instant,
    ) -> Result<(), RequestError> {
        let request = set_password(name, password);
        let response = self.ask(context, &request, &[200, 201], deadline).await?;
        // The user did not exist, and does now.
        expect(&response, &[200])
    }

    pub async fn remove(
        &mut self,
        context: &mut Context,
        kind: &str,
        name: &str,
    ) -> Result<(), RequestError> {
        let request = Request::new("DELETE", path(&[kind, name]));
        let deadline = context.deadline();
        self.ask(context, &request, &[200, 201], deadline).await?;
        Ok(())
    }

    /// Gives a user roles, or takes them.
    pub async fn change_roles(
        &mut self,
        context: &mut Context,
        name: &str,
        direction: Direction,
        roles: &[String],
    ) -> Result<(), RequestError> {
        let body = Json::object()
            .with("user", name)
            .with("roles", Json::Null)
            .with(direction.field(), roles);
        let request = Request::new("PUT", path(&["users", name])).json(body.to_string());
        let deadline = context.deadline();
        self.ask(context, &request, &[200], deadline).await?;
        Ok(())
    }

    pub async fn roles(&mut self, context: &mut Context) -> Result<Vec<String>, RequestError> {
        let mut request = Request::new("GET", path(&["roles"]));
        request.content_type = Some("application/json");
        let sending = Sending::until(context.deadline());
        let response = self.0.send(context, &request, sending).await?;
        expect(&response, &[200])?;
        let roles = decode::<Roles>(&response)?.roles.unwrap_or_default();
        Ok(roles.iter().map(|role| role.name().to_owned()).collect())
    }

    pub async fn role(
        &mut self,
        context: &mut Context,
        name: &str,
        deadline: rt::Instant,
    ) -> Result<Role, RequestError> {
        let request = Request::new("GET", path(&["roles", name]));
        let response = self.ask(context, &request, &[200], deadline).await?;
        decode(&response)
    }

    pub async fn add_role(
        &mut self,
        context: &mut Context,
        name: &str,
        deadline: rt::Instant,
    ) -> Result<(), RequestError> {
        let body = role_json(name).to_string();
        let request = Request::new("PUT", path(&["roles", name])).json(body);
        self.ask(context, &request, &[200, 201], deadline).await?;
        Ok(())
    }

    /// Gives a role paths, or takes them.
    pub async fn change_paths(
        &mut self,
        context: &mut Context,
        name: &str,
        direction: Direction,
        paths: &KeyPaths,
        deadline: rt::Instant,
    ) -> Result<Role, RequestError> {
        let body = role_json(name).with(direction.field(), permissions_json(paths));
        let request = Request::new("PUT", path(&["roles", name])).json(body.to_string());
        let response = self.ask(context, &request, &[200], deadline).await?;
        decode(&response)
    }

    /// The response, if its status is one of these, and otherwise what the server says.
    async fn ask(
        &mut self,
        context: &mut Context,
        request: &Request,
        wanted: &[u16],
        deadline: rt::Instant,
    ) -> Result<Response, RequestError> {
        let sending = Sending::until(deadline);
        let response = self.0.send(context, request, sending).await?;
        if wanted.contains(&response.status) {
            return Ok(response);
        }
        let refusal: Message = decode(&response)?;
        Err(RequestError::Other(refusal.message))
    }
}

fn path(parts: &[&str]) -> String {
    let path = format!("{PREFIX}/{}", parts.join("/"));
    let clean = clean_path(path.trim_end_matches('/').as_bytes());
    escape_path(&clean)
}

fn set_password(name: &str, password: &str) -> Request {
    let body = Json::object()
        .with("user", name)
        .with_some("password", password)
        .with("roles", Json::Null);
    Request::new("PUT", path(&["users", name])).json(body.to_string())
}

fn role_json(name: &str) -> Json {
    Json::object()
        .with("role", name)
        .with("permissions", permissions_json(&KeyPaths::default()))
}

fn permissions_json(paths: &KeyPaths) -> Json {
    let list = |paths: &Option<Vec<String>>| paths.as_deref().map(Json::from);
    let both = Json::object()
        .with("read", list(&paths.read))
        .with("write", list(&paths.write));
    Json::object().with("kv", both)
}
