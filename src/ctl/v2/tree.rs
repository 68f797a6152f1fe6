//! All files below a path of v2, for the command that copies them to v3.

use super::error::RequestError;
use super::http::{Request, Sender};
use super::url::{Endpoint, escape_path};
use crate::ctl::failure::Failure;
use crate::ctl::secure::Secure;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use detcd_net::Dialer;
use detcd_net::limits::CLIENT_DIAL_TIMEOUT;
use detcd_net::tls::Alpn;
use serde::Deserialize;
use std::time::Duration;

/// A file of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub key: String,
    pub value: String,
    /// Seconds left: its own, or those of a directory that it lies in.
    pub ttl: Option<i64>,
}

/// What lies below a path.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Files {
    pub files: Vec<File>,
    /// Directories without anything in them, which v3 has no place for.
    pub empty_directories: u64,
}

#[derive(Deserialize)]
struct Reply {
    node: Node,
}

#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    key: String,
    value: Option<String>,
    ttl: Option<i64>,
    #[serde(default)]
    nodes: Vec<Node>,
}

/// What a server says that refuses.
#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "errorCode")]
    code: u64,
    message: String,
    #[serde(default)]
    cause: String,
}

/// Servers that are asked for the tree, one after the other until one answers.
pub struct Source {
    endpoints: Vec<Endpoint>,
    sender: Sender,
    timeout: Duration,
}

impl Source {
    /// The endpoints of a command of v3. `user` is `name:password`, or empty.
    pub fn new(
        endpoints: &[String],
        secure: &Secure,
        user: &str,
        timeout: Duration,
    ) -> Result<Source, Failure> {
        let read = endpoints.iter().map(|endpoint| {
            let is_tls = secure.address(endpoint).is_some_and(|it| it.is_tls);
            let scheme = if is_tls { "https" } else { "http" };
            match endpoint.contains("://") || endpoint.starts_with("unix") {
                true => Endpoint::parse(endpoint),
                false => Endpoint::parse(&format!("{scheme}://{endpoint}")),
            }
        });
        let endpoints = read.collect::<Result<_, _>>().map_err(Failure::args)?;
        let authorization = match user {
            "" => None,
            user => Some(format!("Basic {}", BASE64_STANDARD.encode(user))),
        };
        let dialer = Dialer::within(CLIENT_DIAL_TIMEOUT);
        Ok(Source {
            endpoints,
            sender: Sender {
                dialer: dialer.with_tls(secure.client()).speaking(Alpn::Http1),
                authorization,
            },
            timeout,
        })
    }

    /// Everything below a path, as a quorum has it.
    pub async fn read(&self, path: &str) -> Result<Files, Failure> {
        let path = format!(
            "/v2/keys{}",
            escape_path(&super::url::clean_path(path.as_bytes()))
        );
        let request = Request {
            query: "quorum=true&recursive=true".to_owned(),
            ..Request::new("GET", path)
        };
        let mut problem = RequestError::other("etcdclient: no available endpoints");
        for endpoint in &self.endpoints {
            let reply = match self
                .sender
                .send(endpoint, &request, Some(self.timeout))
                .await
            {
                Ok(reply) => reply,
                Err(error) => {
                    problem = error;
                    continue;
                }
            };
            if reply.status == 200 {
                let read: Reply = serde_json::from_slice(&reply.body).map_err(|error| {
                    Failure::error(format!("{endpoint} answers no v2: {error}"))
                })?;
                let mut found = Files::default();
                collect(read.node, None, &mut found);
                return Ok(found);
            }
            let why = match serde_json::from_slice::<Refusal>(&reply.body) {
                Ok(Refusal {
                    code,
                    message,
                    cause,
                }) => format!("{code}: {message} ({cause})"),
                Err(_) => format!("{endpoint} serves no v2 (status {})", reply.status),
            };
            return Err(Failure::error(why));
        }
        Err(problem.fail_plainly())
    }
}

/// The shorter of two lives.
fn sooner(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn collect(node: Node, ttl: Option<i64>, found: &mut Files) {
    let ttl = sooner(ttl, node.ttl);
    match node.value {
        Some(value) => found.files.push(File {
            key: node.key,
            value,
            ttl,
        }),
        None if node.nodes.is_empty() && !node.key.is_empty() => found.empty_directories += 1,
        None => {
            for child in node.nodes {
                collect(child, ttl, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_live_no_longer_than_their_directories() {
        let reply = r#"{"node":{"dir":true,"nodes":[
            {"key":"/a","dir":true,"ttl":9,"nodes":[
                {"key":"/a/b","value":"1"},{"key":"/a/c","value":"","ttl":5}]},
            {"key":"/d","dir":true}]}}"#;
        let read: Reply = serde_json::from_str(reply).unwrap();
        let mut found = Files::default();
        collect(read.node, None, &mut found);
        let file = |key: &str, value: &str, ttl| File {
            key: key.to_owned(),
            value: value.to_owned(),
            ttl: Some(ttl),
        };
        assert_eq!(found.files, [file("/a/b", "1", 9), file("/a/c", "", 5)]);
        assert_eq!(found.empty_directories, 1);
    }
}
