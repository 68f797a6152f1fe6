//! v2's tree, as simply as it can be said: what the real one is compared with.
//!
//! Written from etcd's documents and not from `detcd_core`, with which it shares nothing.

use super::{Known, is_below, is_write, problem, write_done};
use crate::check::Finding;
use crate::v2_calls::{V2Event, V2Node, V2Operation, V2Reply};
use bytes::Bytes;
use detcd_service::{KeysMethod, KeysRequest};
use std::collections::{BTreeMap, BTreeSet};

const KEY_NOT_FOUND: u16 = 100;
const COMPARE_FAILED: u16 = 101;
const NOT_A_FILE: u16 = 102;
const NOT_A_DIRECTORY: u16 = 104;
const KEY_EXISTS: u16 = 105;
const DIRECTORY_NOT_EMPTY: u16 = 108;

/// Every node by its path; the root is none.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<Bytes, Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `None` is a directory.
    value: Option<Bytes>,
    modified: u64,
    created: u64,
    has_ttl: bool,
}

/// The event that a write has to make.
#[derive(Debug)]
pub struct Expected {
    action: &'static str,
    key: Bytes,
    after: Option<Node>,
    before: Option<Node>,
}

/// Follows the events from the first on.
pub fn check(known: &Known<'_>, operations: &[V2Operation]) -> Vec<Finding> {
    let mut writes: BTreeMap<u64, &V2Operation> = BTreeMap::new();
    let mut looks: BTreeMap<u64, Vec<&V2Operation>> = BTreeMap::new();
    // Nobody knows whether these were refreshed, which changes their index.
    let mut loose = BTreeSet::new();
    for one in operations {
        match &one.reply {
            Some(V2Reply::Done { index, .. }) if is_write(&one.request) => {
                writes.insert(*index, one);
            }
            Some(V2Reply::Done { index, .. } | V2Reply::Refused { index, .. })
                if *index > 0 && !one.request.wait =>
            {
                looks.entry(*index).or_default().push(one);
            }
            None if one.request.refresh => drop(loose.insert(one.request.path.clone())),
            _ => {}
        }
    }
    let mut walk = Walk {
        tree: Tree::default(),
        loose,
    };
    let mut found = Vec::new();
    let mut looks = looks.range(..known.end).peekable();
    for (index, event) in known.log.range(..known.end) {
        while let Some((_, looks)) = looks.next_if(|(at, _)| *at < index) {
            found.extend(looks.iter().filter_map(|one| walk.looked(one)));
        }
        let write = writes.get(index);
        found.extend(write.and_then(|one| walk.wrote(one)));
        found.extend(walk.happened(event));
        walk.tree.take(event);
    }
    for (_, looks) in looks {
        found.extend(looks.iter().filter_map(|one| walk.looked(one)));
    }
    found
}

struct Walk {
    tree: Tree,
    loose: BTreeSet<Bytes>,
}

impl Walk {
    /// Whether a node is shown as it is.
    fn is_shown(&self, key: &Bytes, node: &Node, shown: &V2Node) -> bool {
        shown.key == *key
            && shown.value == node.value
            && shown.dir == node.value.is_none()
            && shown.created == node.created
            && (shown.modified == node.modified || self.loose.contains(key))
            && (shown.expiration != 0) == node.has_ttl
    }

    fn is_shown_if_any(&self, key: &Bytes, node: Option<&Node>, shown: Option<&V2Node>) -> bool {
        match (node, shown) {
            (Some(node), Some(shown)) => self.is_shown(key, node, shown),
            (None, None) => true,
            _ => false,
        }
    }

    /// An event is one of the node as it was.
    fn happened(&self, event: &V2Event) -> Option<Finding> {
        let key = &event.node.key;
        let before = self.tree.nodes.get(key);
        let is_before = self.is_shown_if_any(key, before, event.prev.as_ref());
        let is_due = event.action != "expire" || before.is_some_and(|node| node.has_ttl);
        let is_new = event.action != "create" || before.is_none();
        (!is_before || !is_due || !is_new).then(|| {
            let what = format!("an event is not one of what was there, {before:?}: {event:?}");
            Finding::new(what).index(event.index())
        })
    }

    /// A write did what was asked for.
    fn wrote(&self, operation: &V2Operation) -> Option<Finding> {
        let (index, event) = write_done(operation)?;
        let expected = self.tree.expected(&operation.request, index);
        let is_right = expected.as_ref().is_ok_and(|expected| {
            let node = &event.node;
            let is_after = match &expected.after {
                Some(after) => self.is_shown(&expected.key, after, node),
                None => node.key == expected.key && node.value.is_none(),
            };
            let ttl = operation.request.ttl.map_or(0, u64::cast_signed);
            is_after
                && event.action == expected.action
                && node.ttl == ttl
                && node.modified == index
                && self.is_shown_if_any(&node.key, expected.before.as_ref(), event.prev.as_ref())
        });
        (!is_right).then(|| {
            let what = format!("asked for {expected:?}: {operation:?}");
            problem(&operation.client, what)
                .index(index)
                .time(operation.ended)
        })
    }

    /// A read or a refusal is right about the tree at its index.
    fn looked(&self, operation: &V2Operation) -> Option<Finding> {
        let request = &operation.request;
        let (is_right, truth) = match (operation.reply.as_ref()?, is_write(request)) {
            (V2Reply::Done { event, .. }, _) => {
                let mut shown = Vec::new();
                flatten(&event.node, &mut shown);
                let truth = self.tree.listed(&request.path, request.recursive);
                let mut pairs = truth.iter().zip(&shown);
                let is_right = truth.len() == shown.len()
                    && pairs.all(|((key, node), shown)| self.is_shown(key, node, shown));
                (is_right, format!("{truth:?}"))
            }
            (V2Reply::Refused { code, .. }, true) => {
                let expected = self.tree.expected(request, u64::MAX);
                (
                    expected.as_ref().err() == Some(code),
                    format!("{expected:?}"),
                )
            }
            (V2Reply::Refused { code, .. }, false) => {
                let found = self.tree.find(&request.path);
                (found.as_ref().err() == Some(code), format!("{found:?}"))
            }
            (V2Reply::Watching { .. }, _) => return None,
        };
        (!is_right).then(|| {
            let what = format!("looked at {truth}: {operation:?}");
            problem(&operation.client, what).time(operation.ended)
        })
    }
}

fn flatten<'a>(node: &'a V2Node, into: &mut Vec<&'a V2Node>) {
    into.push(node);
    let mut nodes: Vec<&V2Node> = node.nodes.iter().collect();
    nodes.sort_by_key(|node| &node.key);
    nodes.into_iter().for_each(|node| flatten(node, into));
}

impl Tree {
    /// The node, or why there is none.
    fn find(&self, path: &Bytes) -> Result<&Node, u16> {
        for directory in above(path) {
            match self.nodes.get(&directory) {
                Some(node) if node.value.is_none() => {}
                Some(_) => return Err(NOT_A_DIRECTORY),
                None => return Err(KEY_NOT_FOUND),
            }
        }
        self.nodes.get(path).ok_or(KEY_NOT_FOUND)
    }

    /// What a read shows: the node, and what lies in it, in order.
    fn listed(&self, path: &Bytes, recursive: bool) -> Vec<(Bytes, Node)> {
        let slashes = |path: &[u8]| path.iter().filter(|byte| **byte == b'/').count();
        let listed = self.nodes.iter().filter(|(key, _)| {
            let is_child = slashes(key) == slashes(path) + 1;
            *key == path || is_below(key, path) && (recursive || is_child)
        });
        let mut listed: Vec<_> = listed
            .map(|(key, node)| (key.clone(), node.clone()))
            .collect();
        // As directories are shown: what lies in one comes right after it.
        listed.sort_by(|(a, _), (b, _)| a.split(|it| *it == b'/').cmp(b.split(|it| *it == b'/')));
        listed
    }

    /// What a write at this index makes, or the code that it is refused with.
    fn expected(&self, request: &KeysRequest, index: u64) -> Result<Expected, u16> {
        let compares = request.prev_index > 0 || !request.prev_value.is_empty();
        let path = &request.path;
        match (request.method, request.prev_exist) {
            (KeysMethod::Get | KeysMethod::Head, _) => unreachable!("a read writes nothing"),
            (KeysMethod::Post, _) => {
                let name = format!("/{index:020}");
                let key = Bytes::from([&path[..], name.as_bytes()].concat());
                self.made("create", key, request, index)
            }
            (KeysMethod::Put, Some(false)) => self.made("create", path.clone(), request, index),
            (KeysMethod::Put, _) if compares => {
                self.compared(request)?;
                self.rewritten("compareAndSwap", request, index)
            }
            (KeysMethod::Put, Some(true)) => self.rewritten("update", request, index),
            (KeysMethod::Put, None) => self.made("set", path.clone(), request, index),
            (KeysMethod::Delete, _) if compares => {
                self.compared(request)?;
                self.removed("compareAndDelete", request)
            }
            (KeysMethod::Delete, _) => self.removed("delete", request),
        }
    }

    fn made(
        &self,
        action: &'static str,
        key: Bytes,
        request: &KeysRequest,
        index: u64,
    ) -> Result<Expected, u16> {
        if self.find(&key) == Err(NOT_A_DIRECTORY) {
            return Err(NOT_A_DIRECTORY);
        }
        let before = self.nodes.get(&key).cloned();
        match &before {
            Some(_) if action == "create" => return Err(KEY_EXISTS),
            Some(node) if node.value.is_none() => return Err(NOT_A_FILE),
            _ => {}
        }
        let after = Node {
            value: (!request.dir).then(|| request.value.clone()),
            modified: index,
            created: index,
            has_ttl: request.ttl.is_some(),
        };
        let after = Some(after);
        Ok(Expected {
            action,
            key,
            after,
            before,
        })
    }

    fn rewritten(
        &self,
        action: &'static str,
        request: &KeysRequest,
        index: u64,
    ) -> Result<Expected, u16> {
        let before = self.find(&request.path)?.clone();
        if before.value.is_none() && !request.value.is_empty() {
            return Err(NOT_A_FILE);
        }
        let value = before.value.clone();
        let after = Node {
            value: value.map(|value| match request.refresh {
                true => value,
                false => request.value.clone(),
            }),
            modified: index,
            created: before.created,
            has_ttl: request.ttl.is_some(),
        };
        Ok(Expected {
            action,
            key: request.path.clone(),
            after: Some(after),
            before: Some(before),
        })
    }

    fn compared(&self, request: &KeysRequest) -> Result<(), u16> {
        let node = self.find(&request.path)?;
        let value = node.value.as_ref().ok_or(NOT_A_FILE)?;
        let is_index = [0, node.modified].contains(&request.prev_index);
        let is_value = request.prev_value.is_empty() || request.prev_value == *value;
        match is_index && is_value {
            true => Ok(()),
            false => Err(COMPARE_FAILED),
        }
    }

    fn removed(&self, action: &'static str, request: &KeysRequest) -> Result<Expected, u16> {
        let path = &request.path;
        let before = self.find(path)?.clone();
        if before.value.is_none() && !request.recursive {
            if !request.dir {
                return Err(NOT_A_FILE);
            }
            if self.nodes.keys().any(|key| is_below(key, path)) {
                return Err(DIRECTORY_NOT_EMPTY);
            }
        }
        Ok(Expected {
            action,
            key: path.clone(),
            after: None,
            before: Some(before),
        })
    }

    /// Does what an event says.
    fn take(&mut self, event: &V2Event) {
        let shown = &event.node;
        if ["delete", "compareAndDelete", "expire"].contains(&&event.action[..]) {
            let key = &shown.key;
            self.nodes
                .retain(|path, _| path != key && !is_below(path, key));
            return;
        }
        let index = shown.modified;
        for directory in above(&shown.key) {
            let made = Node {
                value: None,
                modified: index,
                created: index,
                has_ttl: false,
            };
            self.nodes.entry(directory).or_insert(made);
        }
        let node = Node {
            value: shown.value.clone(),
            modified: index,
            created: shown.created,
            has_ttl: shown.expiration != 0,
        };
        self.nodes.insert(shown.key.clone(), node);
    }
}

/// The directories on the way to a path.
fn above(path: &Bytes) -> impl Iterator<Item = Bytes> {
    let slashes = path.iter().enumerate().skip(1);
    let slashes = slashes.filter(|(_, byte)| **byte == b'/');
    slashes.map(|(at, _)| path.slice(..at))
}
