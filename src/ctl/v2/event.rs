//! What the keys API answers, and how it is printed.

use super::context::Context;
use super::error::RequestError;
use super::http::Response;
use crate::ctl::failure::Failure;
use crate::ctl::output::json::Json;
use crate::ctl::output::line;
use serde::Deserialize;
use std::io::Write as _;

pub const INVALID_JSON: &str = "client: response is invalid json. The endpoint is probably not \
                                valid etcd cluster endpoint";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub action: String,
    pub node: Node,
    pub prev_node: Option<Node>,
    /// The store's index when the event was sent.
    pub index: u64,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    action: String,
    node: Node,
    #[serde(rename = "prevNode", default)]
    prev_node: Option<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
pub struct Node {
    pub key: String,
    pub dir: bool,
    pub value: String,
    pub nodes: Option<Vec<Node>>,
    pub created_index: u64,
    pub modified_index: u64,
    pub expiration: Option<String>,
    pub ttl: i64,
}

/// The event in a response, or the error.
pub fn read(response: &Response) -> Result<Event, RequestError> {
    let text = String::from_utf8_lossy(&response.body);
    let invalid = |_| RequestError::other(INVALID_JSON);
    if !matches!(response.status, 200 | 201) {
        let refusal = serde_json::from_str(&text).map_err(invalid)?;
        return Err(RequestError::Refused(refusal));
    }
    if text.is_empty() {
        return Err(RequestError::other("client: response body is empty"));
    }
    let body: Body = serde_json::from_str(&text).map_err(invalid)?;
    let index = response.etcd_index.as_deref().unwrap_or_default();
    Ok(Event {
        action: body.action,
        node: body.node,
        prev_node: body.prev_node,
        index: index.parse().unwrap_or(0),
    })
}

impl Event {
    /// Prints what became of a key. Of a directory the simple format says nothing.
    pub fn print_change(&self, context: &mut Context) -> Result<(), Failure> {
        match self.node.dir && context.global.text("output") == "simple" {
            true => Ok(()),
            false => self.print(context),
        }
    }

    /// Prints it in the format of `--output`.
    pub fn print(&self, context: &mut Context) -> Result<(), Failure> {
        let mut out = Vec::new();
        match &context.global.text("output")[..] {
            "simple" => self.simple(&mut out),
            "extended" => self.extended(&mut out),
            "json" => line!(out, "{}", self.json()),
            other => {
                let why = format!("Unsupported output format: {other}");
                return context.terminal.complain(&why);
            }
        }
        context.terminal.out.write_all(&out)?;
        context.terminal.out.flush()?;
        Ok(())
    }

    fn prev_value(&self) -> &str {
        self.prev_node.as_ref().map_or("", |node| &node.value)
    }

    fn simple(&self, out: &mut Vec<u8>) {
        match &self.action[..] {
            "delete" => line!(out, "PrevNode.Value: {}", self.prev_value()),
            _ => line!(out, "{}", self.node.value),
        }
    }

    fn extended(&self, out: &mut Vec<u8>) {
        let node = &self.node;
        line!(out, "Key: {}", node.key);
        line!(out, "Created-Index: {}", node.created_index);
        line!(out, "Modified-Index: {}", node.modified_index);
        if self.prev_node.is_some() {
            line!(out, "PrevNode.Value: {}", self.prev_value());
        }
        line!(out, "TTL: {}", node.ttl);
        line!(out, "Index: {}", self.index);
        if self.action != "delete" {
            line!(out, "\n{}", node.value);
        }
    }

    fn json(&self) -> Json {
        Json::object()
            .with("action", &self.action[..])
            .with("node", node_json(&self.node))
            .with("prevNode", self.prev_node.as_ref().map(node_json))
    }
}

fn node_json(node: &Node) -> Json {
    let nodes = node.nodes.as_ref();
    Json::object()
        .with("key", &node.key[..])
        .with_some("dir", node.dir)
        .with("value", &node.value[..])
        .with("nodes", nodes.map(|nodes| Json::list(nodes, node_json)))
        .with("createdIndex", node.created_index)
        .with("modifiedIndex", node.modified_index)
        .with_some("expiration", node.expiration.as_deref())
        .with_some("ttl", node.ttl)
}
