//! Reads of the tree.

use super::codec::{
    META_KEY, Node, TTLS, below_prefix, decode_index, decode_node, decode_node_key, decode_number,
    decode_ttl, node_key,
};
use super::error::{Code, Refused, TreeError};
use super::types::{Action, Dialect, Event, ShownNode, UnixNanos, depth, is_hidden, parent};
use crate::event::V2State;
use crate::query;
use crate::view::{Direction, Fault, Row, Table, View};
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Bound;

/// The index of the last change of the tree.
///
/// Before the first write it is what etcd's would be: each member that was added and published
/// itself counts twice there, one that was removed twice more, and the cluster's version once.
pub fn index(view: &dyn View) -> Result<u64, Fault> {
    if let Some((index, _)) = begun(view)? {
        return Ok(index);
    }
    let members = query::members(view)?.len() as u64;
    let removed = query::removed(view)?.len() as u64;
    Ok(2 * members + 4 * removed + 1)
}

/// The index and what it counts, once the tree was written to.
pub(super) fn begun(view: &dyn View) -> Result<Option<(u64, Dialect)>, Fault> {
    let row = view.get(Table::V2, META_KEY)?;
    row.as_ref().map(decode_index).transpose()
}

/// What a read finds, and the index of the tree.
pub fn get(
    view: &dyn View,
    path: &Bytes,
    recursive: bool,
    now: UnixNanos,
) -> Result<(Event, u64), TreeError> {
    let index = index(view)?;
    let node = locate(view, path, index)?;
    let mut shown = show(path, &node, now);
    if node.is_dir() {
        shown.nodes = children(view, path, recursive, now)?;
    }
    let event = Event {
        action: Action::Get,
        node: shown,
        prev: None,
        refresh: false,
    };
    Ok((event, index))
}

/// Whether a path leads to a file or nowhere: then reading it costs about what a key does.
pub fn is_short(view: &dyn View, path: &[u8]) -> Result<bool, Fault> {
    if path.is_empty() {
        return Ok(false);
    }
    Ok(node(view, path)?.is_none_or(|node| !node.is_dir()))
}

/// What keeps time and tells watchers starts from this.
pub fn state(view: &dyn View) -> Result<V2State, Fault> {
    Ok(V2State {
        index: index(view)?,
        ttls: ttls(view)?,
    })
}

/// The times-to-live that there are, by name, in seconds.
fn ttls(view: &dyn View) -> Result<Vec<(u64, i64)>, Fault> {
    let bounds = (Bound::Included(TTLS.0), Bound::Excluded(TTLS.1));
    view.scan(Table::V2, bounds, Direction::Forward)
        .map(|row| {
            let (key, row) = row?;
            Ok((decode_number(&key)?, decode_ttl(&row)?.0))
        })
        .collect()
}

/// The node at a path. The root is there although it has no row.
pub(super) fn node(view: &dyn View, path: &[u8]) -> Result<Option<Node>, Fault> {
    if path.is_empty() {
        return Ok(Some(Node {
            value: None,
            ttl: None,
            modified: 0,
            created: 0,
        }));
    }
    let row = view.get(Table::V2, &node_key(path))?;
    row.as_ref().map(decode_node).transpose()
}

/// The node at a path, or why there is none: the first on the way that is missing, or a file.
pub(super) fn locate(view: &dyn View, path: &Bytes, index: u64) -> Result<Node, TreeError> {
    if let Some(node) = node(view, path)? {
        return Ok(node);
    }
    for way in ancestors(path) {
        let (code, cause) = match node(view, &way)? {
            Some(node) if node.is_dir() => continue,
            Some(_) => (Code::NotADirectory, way),
            None => (Code::KeyNotFound, way),
        };
        return Err(Refused { code, cause, index }.into());
    }
    let (code, cause) = (Code::KeyNotFound, path.clone());
    Err(Refused { code, cause, index }.into())
}

/// The directories on the way to a path, the root and the path itself left out.
pub(super) fn ancestors(path: &Bytes) -> impl Iterator<Item = Bytes> {
    let end = parent(path).len();
    let slashes = path.iter().enumerate().skip(1);
    let slashes = slashes.filter(move |(at, byte)| **byte == b'/' && *at <= end);
    slashes.map(|(at, _)| path.slice(..at))
}

/// The rows of the nodes below `path` that lie `depth` components from the root.
pub(super) fn rows_below<'a>(
    view: &'a dyn View,
    path: &[u8],
    depth: usize,
) -> impl Iterator<Item = Result<Row, Fault>> + 'a {
    let start = below_prefix(path, depth);
    let mut end = start.clone();
    // The byte after the slash.
    *end.last_mut().expect("a prefix has bytes") += 1;
    let bounds = (Bound::Included(&start[..]), Bound::Excluded(&end[..]));
    view.scan(Table::V2, bounds, Direction::Forward)
}

fn children(
    view: &dyn View,
    path: &Bytes,
    recursive: bool,
    now: UnixNanos,
) -> Result<Vec<ShownNode>, Fault> {
    let mut shown = Vec::new();
    for row in rows_below(view, path, depth(path) + 1) {
        let (key, row) = row?;
        let path = decode_node_key(&key)?;
        if is_hidden(&path) {
            continue;
        }
        let node = decode_node(&row)?;
        let mut child = show(&path, &node, now);
        if recursive && node.is_dir() {
            child.nodes = children(view, &path, recursive, now)?;
        }
        shown.push(child);
    }
    Ok(shown)
}

/// A node without what lies in it.
pub(super) fn show(path: &Bytes, node: &Node, now: UnixNanos) -> ShownNode {
    let expiration = node.ttl.map(|ttl| ttl.expiration);
    ShownNode {
        key: path.clone(),
        value: node.value.clone(),
        dir: node.is_dir(),
        expiration,
        ttl: expiration.map_or(0, |expiration| now.seconds_until(expiration)),
        nodes: Vec::new(),
        modified: node.modified,
        created: node.created,
    }
}
