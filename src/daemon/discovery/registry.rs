//! A client of the v2 keys API that members meet in: the registry of a discovery, which is a URL in
//! some etcd's tree.

use crate::http_client::HttpClient;
use axum::body::Body;
use bytes::Bytes;
use detcd_core::membership::discovery::{Registered, RegistryError};
use detcd_core::percent;
use detcd_net::limits::CLIENT_DIAL_TIMEOUT;
use http::{Method, Request, StatusCode, header};
use serde::Deserialize;
use std::time::Duration;

/// How long the registry may take to answer what is not waited for (etcd's time).
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A list of members is small; more is no list.
const BYTES_MAX: usize = 1024 * 1024;

/// Error codes of the v2 API.
const KEY_EXISTS: u32 = 105;
const EVENTS_CLEARED: u32 = 401;

pub(super) struct Registry {
    client: HttpClient,
    /// Where to connect: the registry, or an HTTP proxy before it.
    place: String,
    /// What stands before the path in a request: nothing, or the registry, for a proxy.
    origin: String,
    host: String,
    path: String,
}

impl Registry {
    /// `url`: where the members register; `proxy`: the HTTP proxy on the way there, if any.
    pub fn new(url: &str, proxy: Option<&str>) -> Registry {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = match authority.rsplit_once(':') {
            Some((host, _)) if !host.is_empty() && !authority.ends_with(']') => {
                authority.to_owned()
            }
            _ => format!("{authority}:80"),
        };
        let origin = format!("{scheme}://{host}");
        Registry {
            client: HttpClient::new(CLIENT_DIAL_TIMEOUT),
            place: proxy.unwrap_or(&origin).to_owned(),
            origin: match proxy {
                Some(_) => origin,
                None => String::new(),
            },
            host: authority.to_owned(),
            path: path.trim_end_matches('/').to_owned(),
        }
    }

    /// The text of `_config/size`.
    pub async fn size(&self) -> Result<String, RegistryError> {
        let (reply, _) = self.ask(Method::GET, "/_config/size", None).await?;
        reply.node.value.ok_or(RegistryError::NotARegistry)
    }

    /// Who has registered, and the index of the registry.
    pub async fn list(&self) -> Result<(Vec<Registered>, u64), RegistryError> {
        let (reply, index) = self.ask(Method::GET, "", None).await?;
        let nodes = reply.node.nodes.into_iter().filter_map(Node::registered);
        Ok((nodes.collect(), index))
    }

    pub async fn create(&self, id: &str, value: &str) -> Result<(), RegistryError> {
        let body = format!("value={}", percent::escape(value));
        let path = format!("/{id}?prevExist=false");
        self.ask(Method::PUT, &path, Some(body)).await.map(drop)
    }

    /// The first change after an index: who has registered by it, if anybody, and its index.
    pub async fn wait(&self, after: u64) -> Result<(Option<Registered>, u64), RegistryError> {
        let query = format!("?recursive=true&wait=true&waitIndex={}", after + 1);
        let (status, index, body) = self.exchange(Method::GET, &query, None).await?;
        let reply = read(status, &body)?;
        let index = reply.node.modified_index.unwrap_or(index);
        let is_there = !matches!(&reply.action[..], "delete" | "expire" | "compareAndDelete");
        let node = reply.node.registered().filter(|_| is_there);
        Ok((node, index))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<(Reply, u64), RegistryError> {
        let exchange = self.exchange(method, path, body);
        let (status, index, body) = match detcd_rt::timeout(ANSWER_MAX, exchange).await {
            Ok(answered) => answered?,
            Err(_) => return Err(RegistryError::Unreachable("no answer in time".to_owned())),
        };
        Ok((read(status, &body)?, index))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<(StatusCode, u64, Bytes), RegistryError> {
        let unreachable = RegistryError::Unreachable;
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{}{path}", self.origin, self.path))
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body.unwrap_or_default().into())
            .map_err(|error| RegistryError::Other(error.to_string()))?;
        let response = self.client.send(&self.place, request).await;
        let response = response.map_err(unreachable)?;
        let index = response
            .headers()
            .get("x-etcd-index")
            .and_then(|index| index.to_str().ok()?.parse().ok())
            .unwrap_or(0);
        let status = response.status();
        let body = axum::body::to_bytes(Body::new(response.into_body()), BYTES_MAX).await;
        let body = body.map_err(|error| unreachable(error.to_string()))?;
        Ok((status, index, body))
    }
}

/// An answer of the API.
#[derive(Deserialize)]
struct Reply {
    action: String,
    node: Node,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    #[serde(default)]
    key: String,
    value: Option<String>,
    #[serde(default)]
    nodes: Vec<Node>,
    created_index: Option<u64>,
    modified_index: Option<u64>,
}

impl Node {
    /// The member that has registered by this node. Directories and hidden keys are none.
    fn registered(self) -> Option<Registered> {
        let id = self.key.rsplit('/').next().unwrap_or_default();
        if id.starts_with('_') {
            return None;
        }
        Some(Registered {
            id: id.to_owned(),
            value: self.value?,
            created_index: self.created_index?,
        })
    }
}

/// A refusal of the API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refusal {
    error_code: u32,
    message: String,
    #[serde(default)]
    cause: String,
    #[serde(default)]
    index: u64,
}

fn read(status: StatusCode, body: &[u8]) -> Result<Reply, RegistryError> {
    if body.is_empty() {
        return Err(RegistryError::Unreachable("an empty answer".to_owned()));
    }
    if let Ok(refusal) = serde_json::from_slice::<Refusal>(body) {
        let Refusal {
            error_code,
            message,
            cause,
            index,
        } = refusal;
        let text = format!("{error_code}: {message} ({cause}) [{index}]");
        return Err(match error_code {
            KEY_EXISTS => RegistryError::Exists,
            EVENTS_CLEARED => RegistryError::Cleared,
            _ if status.is_server_error() => RegistryError::Unreachable(text),
            _ => RegistryError::Other(text),
        });
    }
    if status.is_server_error() {
        return Err(RegistryError::Unreachable(format!("status {status}")));
    }
    serde_json::from_slice(body).map_err(|_| RegistryError::NotARegistry)
}
