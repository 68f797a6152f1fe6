//! What a committed write does to the tree.

use super::auth::{self, Asked, Asker};
use super::codec::{
    META_KEY, Node, Ttl, decode_node, decode_node_key, decode_ttl, encode_event, encode_index,
    encode_node, encode_ttl, event_key, node_key, ttl_key,
};
use super::error::{Code, Refused, TreeError};
use super::history::first_kept;
use super::tree::{ancestors, begun, index, locate, node, rows_below, show};
use super::types::{
    Action, Applied, Dialect, Event, Operation, ShownNode, TtlChange, UnixNanos, Write, depth,
};
use crate::limits::LEASE_TTL_MAX;
use crate::overlay::Overlay;
use crate::view::{Fault, Table, View};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

/// Applies a write. One that is refused writes nothing.
pub(crate) fn apply(
    write: &Write,
    overlay: &mut Overlay<'_>,
) -> Result<Result<Applied, Refused>, Fault> {
    if !is_allowed(write, overlay)? {
        return Ok(Err(Refused::unauthorized()));
    }
    let (index, dialect) = match (begun(overlay)?, write.dialect) {
        (Some(begun), _) => begun,
        (None, Dialect::Etcd34) => (index(overlay)?, Dialect::Etcd34),
        (None, Dialect::Etcd02) => (0, Dialect::Etcd02),
    };
    let mut change = TreeChange::new(overlay, index, dialect, write.time);
    let done = match write.operation {
        Operation::Set => change.set(write),
        Operation::Create => change.create(&write.path, write, &write.value, Action::Create),
        Operation::CreateInOrder => {
            let path = format!("/{:020}", index + 1);
            let path = Bytes::from([&write.path[..], path.as_bytes()].concat());
            change.create(&path, write, &write.value, Action::Create)
        }
        Operation::Update => change.update(write),
        Operation::CompareAndSwap => change.compare_and_swap(write),
        Operation::Delete => change.delete(write),
        Operation::CompareAndDelete => change.compare_and_delete(write),
    };
    match done {
        Ok(event) => Ok(Ok(change.finish(event))),
        Err(TreeError::Refused(refused)) => Ok(Err(refused)),
        Err(TreeError::Fault(fault)) => Err(fault),
    }
}

/// Whether who asks may write the path.
fn is_allowed(write: &Write, overlay: &Overlay<'_>) -> Result<bool, Fault> {
    let guest = || Asked {
        asker: Asker::Guest,
        path: write.path.clone(),
    };
    let asked = write.asked.clone().unwrap_or_else(guest);
    auth::may(overlay, &asked, write.recursive, true)
}

/// Ends the time-to-live that is named by an index, and the node with it; `None` if it was over or
/// was set anew meanwhile.
pub(crate) fn expire(id: u64, overlay: &mut Overlay<'_>) -> Result<Option<Applied>, Fault> {
    let Some(row) = overlay.get(Table::V2, &ttl_key(id))? else {
        return Ok(None);
    };
    let (_, path) = decode_ttl(&row)?;
    let expiring = node(overlay, &path)?;
    let expiring = expiring.filter(|node| node.ttl.is_some_and(|ttl| ttl.id == id));
    let expiring = expiring.ok_or_else(|| {
        let path = path.escape_ascii();
        Fault(format!("the time-to-live {id} is not one of {path}"))
    })?;
    let begun = begun(overlay)?;
    let (index, dialect) = begun.ok_or_else(|| Fault("the v2 tree has no index".into()))?;
    let time = expiring
        .ttl
        .map_or(UnixNanos::default(), |ttl| ttl.expiration);
    let mut change = TreeChange::new(overlay, index, dialect, time);
    let event = change.gone(Action::Expire, &path, &expiring);
    change.remove(&path, &expiring)?;
    Ok(Some(change.finish(event)))
}

/// Moves the index for `changes` of the membership, which etcd keeps in the same store. Before the
/// first write there is nothing to move; in etcd 0.2 members write what concerns them.
pub(crate) fn note_members(changes: u64, overlay: &mut Overlay<'_>) -> Result<(), Fault> {
    if changes == 0 {
        return Ok(());
    }
    if let Some((before, dialect @ Dialect::Etcd34)) = begun(overlay)? {
        move_index(overlay, before, before + changes, dialect);
    }
    Ok(())
}

/// Writes the index, and drops the events that are too old by then.
pub(super) fn move_index(overlay: &mut Overlay<'_>, before: u64, after: u64, dialect: Dialect) {
    let row = encode_index(after, dialect);
    overlay.put(Table::V2, Bytes::from_static(META_KEY), row);
    for old in first_kept(before)..first_kept(after) {
        overlay.delete(Table::V2, event_key(old));
    }
}

/// One write under way. What may refuse it is looked at before anything is written.
struct TreeChange<'c, 'o> {
    overlay: &'c mut Overlay<'o>,
    /// The index before it.
    index: u64,
    dialect: Dialect,
    time: UnixNanos,
    removed: Vec<Bytes>,
    ttls: Vec<TtlChange>,
}

impl<'c, 'o> TreeChange<'c, 'o> {
    fn new(
        overlay: &'c mut Overlay<'o>,
        index: u64,
        dialect: Dialect,
        time: UnixNanos,
    ) -> TreeChange<'c, 'o> {
        TreeChange {
            overlay,
            index,
            dialect,
            time,
            removed: Vec::new(),
            ttls: Vec::new(),
        }
    }

    fn next(&self) -> u64 {
        self.index + 1
    }

    fn refuse<T>(&self, code: Code, cause: impl Into<Bytes>) -> Result<T, TreeError> {
        let (cause, index) = (cause.into(), self.index);
        Err(Refused { code, cause, index }.into())
    }

    fn not_root(&self, path: &[u8]) -> Result<(), TreeError> {
        match path.is_empty() {
            true => self.refuse(Code::RootReadOnly, &b"/"[..]),
            false => Ok(()),
        }
    }

    fn set(&mut self, write: &Write) -> Result<Event, TreeError> {
        let before = match locate(self.overlay, &write.path, self.index) {
            Ok(node) => Some(node),
            Err(TreeError::Refused(refused))
                if refused.code == Code::KeyNotFound && !write.refresh =>
            {
                None
            }
            Err(error) => return Err(error),
        };
        let value = match &before {
            Some(node) if write.refresh => node.value.clone().unwrap_or_default(),
            _ => write.value.clone(),
        };
        let mut event = self.create(&write.path, write, &value, Action::Set)?;
        event.refresh = write.refresh;
        Ok(event)
    }

    /// Makes a node, and the directories on the way to it. `Set` replaces a file.
    fn create(
        &mut self,
        path: &Bytes,
        write: &Write,
        value: &Bytes,
        action: Action,
    ) -> Result<Event, TreeError> {
        self.not_root(path)?;
        let missing = self.missing_directories(path)?;
        let before = node(self.overlay, path)?;
        if let Some(before) = &before {
            match action {
                Action::Set if before.is_dir() => {
                    return self.refuse(Code::NotAFile, path.clone());
                }
                Action::Set => {}
                _ => return self.refuse(Code::KeyExists, path.clone()),
            }
        }
        let next = self.next();
        for directory in missing {
            self.put(
                &directory,
                &Node {
                    value: None,
                    ttl: None,
                    modified: next,
                    created: next,
                },
            );
        }
        let prev = before.as_ref().map(|node| show(path, node, self.time));
        if let Some(ttl) = before.and_then(|node| node.ttl) {
            self.drop_ttl(ttl);
        }
        let made = Node {
            value: (!write.dir).then(|| value.clone()),
            ttl: self.new_ttl(path, write.ttl),
            modified: next,
            created: next,
        };
        self.put(path, &made);
        Ok(self.event(action, show(path, &made, self.time), prev))
    }

    /// The directories on the way that are not there yet.
    fn missing_directories(&self, path: &Bytes) -> Result<Vec<Bytes>, TreeError> {
        let mut missing = Vec::new();
        for way in ancestors(path) {
            match node(self.overlay, &way)? {
                Some(node) if node.is_dir() => {}
                Some(_) => return self.refuse(Code::NotADirectory, way),
                None => missing.push(way),
            }
        }
        Ok(missing)
    }

    /// Changes the value of a file, or the time-to-live of a file or a directory.
    fn update(&mut self, write: &Write) -> Result<Event, TreeError> {
        let path = &write.path;
        self.not_root(path)?;
        let before = locate(self.overlay, path, self.index)?;
        if before.is_dir() && !write.value.is_empty() {
            return self.refuse(Code::NotAFile, path.clone());
        }
        Ok(self.rewrite(Action::Update, write, &before))
    }

    fn compare_and_swap(&mut self, write: &Write) -> Result<Event, TreeError> {
        self.not_root(&write.path)?;
        let before = self.compared(write)?;
        Ok(self.rewrite(Action::CompareAndSwap, write, &before))
    }

    /// The file, if it is what the client thinks.
    fn compared(&self, write: &Write) -> Result<Node, TreeError> {
        let found = locate(self.overlay, &write.path, self.index)?;
        let Some(value) = &found.value else {
            return self.refuse(Code::NotAFile, write.path.clone());
        };
        let (prev_index, modified) = (write.prev_index, found.modified);
        let is_index = prev_index == 0 || prev_index == modified;
        let is_value = write.prev_value.is_empty() || write.prev_value == *value;
        if crate::mutant!(V2CompareEither) && (is_index || is_value) {
            return Ok(found);
        }
        let index = || format!("[{prev_index} != {modified}]").into_bytes();
        let value = || [b"[", &write.prev_value[..], b" != ", &value[..], b"]"].concat();
        match (is_value, is_index) {
            (true, true) => Ok(found),
            (false, true) => self.refuse(Code::CompareFailed, value()),
            (true, false) => self.refuse(Code::CompareFailed, index()),
            (false, false) => {
                let cause = [value(), vec![b' '], index()].concat();
                self.refuse(Code::CompareFailed, cause)
            }
        }
    }

    /// Writes over a node and keeps when it was created. A directory's index stays what it was, as
    /// in etcd; only the event has the new one.
    fn rewrite(&mut self, action: Action, write: &Write, before: &Node) -> Event {
        let path = &write.path;
        let prev = show(path, before, self.time);
        if let Some(ttl) = before.ttl {
            self.drop_ttl(ttl);
        }
        let value = match write.refresh {
            true => before.value.clone(),
            false => before.value.as_ref().map(|_| write.value.clone()),
        };
        let ttl = self.new_ttl(path, write.ttl);
        let next = self.next();
        let after = Node {
            value,
            ttl,
            modified: if before.is_dir() {
                before.modified
            } else {
                next
            },
            created: before.created,
        };
        self.put(path, &after);
        let shown = ShownNode {
            modified: next,
            ..show(path, &after, self.time)
        };
        let mut event = self.event(action, shown, Some(prev));
        event.refresh = write.refresh;
        event
    }

    fn delete(&mut self, write: &Write) -> Result<Event, TreeError> {
        let path = &write.path;
        self.not_root(path)?;
        let before = locate(self.overlay, path, self.index)?;
        if before.is_dir() {
            if !write.dir && !write.recursive {
                return self.refuse(Code::NotAFile, path.clone());
            }
            let mut children = rows_below(self.overlay, path, depth(path) + 1);
            let is_empty = children.next().transpose()?.is_none();
            drop(children);
            if !is_empty && !write.recursive {
                return self.refuse(Code::DirectoryNotEmpty, path.clone());
            }
        }
        let event = self.gone(Action::Delete, path, &before);
        self.remove(path, &before)?;
        Ok(event)
    }

    fn compare_and_delete(&mut self, write: &Write) -> Result<Event, TreeError> {
        let before = self.compared(write)?;
        let event = self.gone(Action::CompareAndDelete, &write.path, &before);
        self.remove(&write.path, &before)?;
        Ok(event)
    }

    /// The event of a node that goes.
    fn gone(&self, action: Action, path: &Bytes, before: &Node) -> Event {
        let shown = ShownNode {
            key: path.clone(),
            dir: before.is_dir(),
            modified: self.next(),
            created: before.created,
            ..ShownNode::default()
        };
        let prev = show(path, before, self.time);
        self.event(action, shown, Some(prev))
    }

    /// Removes a node with all that lies below it.
    fn remove(&mut self, path: &Bytes, before: &Node) -> Result<(), Fault> {
        if before.is_dir() {
            for level in depth(path) + 1.. {
                if self.remove_level(path, level)? == 0 {
                    break;
                }
            }
        }
        self.overlay.delete(Table::V2, node_key(path));
        self.removed.push(path.clone());
        if let Some(ttl) = before.ttl {
            self.drop_ttl(ttl);
        }
        Ok(())
    }

    /// Removes the nodes below a directory that lie so many components from the root.
    fn remove_level(&mut self, path: &Bytes, level: usize) -> Result<usize, Fault> {
        let mut gone = Vec::new();
        for row in rows_below(self.overlay, path, level) {
            let (key, row) = row?;
            gone.push((key, decode_node(&row)?.ttl));
        }
        let count = gone.len();
        for (key, ttl) in gone {
            self.removed.push(decode_node_key(&key)?);
            self.overlay.delete(Table::V2, key);
            if let Some(ttl) = ttl {
                self.drop_ttl(ttl);
            }
        }
        Ok(count)
    }

    fn put(&mut self, path: &[u8], node: &Node) {
        let (key, row) = (node_key(path), encode_node(node));
        self.overlay.put(Table::V2, key, row);
    }

    fn new_ttl(&mut self, path: &Bytes, seconds: Option<u64>) -> Option<Ttl> {
        let seconds = seconds?;
        let expiration = self.time.expiration(seconds)?;
        let id = self.next();
        let seconds = i64::try_from(seconds).map_or(LEASE_TTL_MAX, |it| it.min(LEASE_TTL_MAX));
        let row = encode_ttl(seconds, path);
        self.overlay.put(Table::V2, ttl_key(id), row);
        self.ttls.push(TtlChange::Set { id, seconds });
        Some(Ttl {
            id,
            seconds,
            expiration,
        })
    }

    fn drop_ttl(&mut self, ttl: Ttl) {
        self.overlay.delete(Table::V2, ttl_key(ttl.id));
        self.ttls.push(TtlChange::Dropped { id: ttl.id });
    }

    fn event(&self, action: Action, node: ShownNode, prev: Option<ShownNode>) -> Event {
        assert_eq!(node.modified, self.next(), "an event has the next index");
        Event {
            action,
            node,
            prev,
            refresh: false,
        }
    }

    /// Writes the index and the event's row.
    fn finish(self, event: Event) -> Applied {
        let next = self.next();
        move_index(self.overlay, self.index, next, self.dialect);
        self.overlay
            .put(Table::V2, event_key(next), encode_event(&event));
        Applied {
            event: Arc::new(event),
            removed: self.removed,
            ttls: self.ttls,
        }
    }
}
