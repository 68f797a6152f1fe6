//! Requests and events of v2, in the core's terms.

use super::auth::Asked;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// A moment of a wall clock, in nanoseconds since 1970, as Go counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixNanos(pub i64);

const SECOND: i64 = 1_000_000_000;
/// 2000-01-01. etcd takes an expiration before it for a number that overflowed, and for none.
const EXPIRATION_MIN: UnixNanos = UnixNanos(946_684_800 * SECOND);

impl UnixNanos {
    /// When a time-to-live of `seconds` ends, if this is now and it ends at all. Go's arithmetic:
    /// what is too large wraps around.
    pub fn expiration(self, seconds: u64) -> Option<UnixNanos> {
        let life = (seconds as i64).wrapping_mul(SECOND);
        let at = UnixNanos(self.0.wrapping_add(life));
        (at >= EXPIRATION_MIN).then_some(at)
    }

    /// The seconds until `later`, counted up; those that are over, counted towards zero.
    pub fn seconds_until(self, later: UnixNanos) -> i64 {
        let left = later.0.saturating_sub(self.0);
        left / SECOND + i64::from(left % SECOND > 0)
    }
}

/// Whose v2 API a member serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// That of etcd 2 to 3.4.
    #[default]
    Etcd34,
    /// That of etcd 0.2. A tree that such a member begins counts writes alone.
    Etcd02,
}

/// What a write is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Operation {
    Set = 1,
    Create = 2,
    /// As `Create`, below the path and under a name that is the next index.
    CreateInOrder = 3,
    Update = 4,
    CompareAndSwap = 5,
    Delete = 6,
    CompareAndDelete = 7,
}

impl Operation {
    pub const ALL: [Operation; 7] = [
        Operation::Set,
        Operation::Create,
        Operation::CreateInOrder,
        Operation::Update,
        Operation::CompareAndSwap,
        Operation::Delete,
        Operation::CompareAndDelete,
    ];

    /// Whether it may add to the store.
    pub fn grows(self) -> bool {
        !matches!(self, Operation::Delete | Operation::CompareAndDelete)
    }
}

/// A write as it enters the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub operation: Operation,
    /// By the clock of the member that took it.
    pub time: UnixNanos,
    pub path: Bytes,
    pub value: Bytes,
    /// Empty for none.
    pub prev_value: Bytes,
    /// Zero for none.
    pub prev_index: u64,
    /// Seconds.
    pub ttl: Option<u64>,
    pub dir: bool,
    pub recursive: bool,
    /// Keeps the value, and tells no watcher.
    pub refresh: bool,
    /// What counts from here on, if this is the first write of the tree.
    pub dialect: Dialect,
    /// `None` where nobody was judged: then a guest asks for the path.
    pub asked: Option<Asked>,
}

/// What an event says was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Action {
    Get = 1,
    Create = 2,
    Set = 3,
    Update = 4,
    Delete = 5,
    CompareAndSwap = 6,
    CompareAndDelete = 7,
    Expire = 8,
}

impl Action {
    pub const ALL: [Action; 8] = [
        Action::Get,
        Action::Create,
        Action::Set,
        Action::Update,
        Action::Delete,
        Action::CompareAndSwap,
        Action::CompareAndDelete,
        Action::Expire,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Action::Get => "get",
            Action::Create => "create",
            Action::Set => "set",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::CompareAndSwap => "compareAndSwap",
            Action::CompareAndDelete => "compareAndDelete",
            Action::Expire => "expire",
        }
    }
}

/// A node as clients see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShownNode {
    pub key: Bytes,
    pub value: Option<Bytes>,
    pub dir: bool,
    pub expiration: Option<UnixNanos>,
    /// Seconds left; zero where there is no expiration, and when it is reached.
    pub ttl: i64,
    pub nodes: Vec<ShownNode>,
    pub modified: u64,
    pub created: u64,
}

/// What was done, or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub action: Action,
    pub node: ShownNode,
    pub prev: Option<ShownNode>,
    pub refresh: bool,
}

impl Event {
    /// The index of the change.
    pub fn index(&self) -> u64 {
        self.node.modified
    }

    /// Whether there is a node that was not there before (HTTP: 201).
    pub fn is_created(&self) -> bool {
        self.action == Action::Create || self.action == Action::Set && self.prev.is_none()
    }
}

/// A change of the times-to-live, for who keeps time. Each is named by an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlChange {
    Set { id: u64, seconds: i64 },
    Dropped { id: u64 },
}

/// What a write did, beside its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub event: Arc<Event>,
    /// Every node that is gone with a directory, and the directory.
    pub removed: Vec<Bytes>,
    pub ttls: Vec<TtlChange>,
}

/// The path of what follows `/v2/keys`: without empty components, and without a slash at its end.
pub fn clean(path: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(path.len() + 1);
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                let parent = out.iter().rposition(|byte| *byte == b'/');
                out.truncate(parent.unwrap_or(0));
            }
            name => {
                out.push(b'/');
                out.extend_from_slice(name);
            }
        }
    }
    Bytes::from(out)
}

/// Whether a path is as [`clean`] makes it.
pub fn is_clean(path: &[u8]) -> bool {
    let Some(names) = path.strip_prefix(b"/") else {
        return path.is_empty();
    };
    let mut names = names.split(|byte| *byte == b'/');
    names.all(|name| !matches!(name, b"" | b"." | b".."))
}

/// How many components a path has.
pub(super) fn depth(path: &[u8]) -> usize {
    path.iter().filter(|byte| **byte == b'/').count()
}

/// The path of the directory that a node lies in.
pub(super) fn parent(path: &Bytes) -> Bytes {
    let at = path.iter().rposition(|byte| *byte == b'/');
    path.slice(..at.unwrap_or(0))
}

/// Whether listings leave the node out.
pub(super) fn is_hidden(path: &[u8]) -> bool {
    let name = path.iter().rposition(|byte| *byte == b'/');
    name.is_some_and(|at| path.get(at + 1) == Some(&b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        let cleaned = [
            ("", ""),
            ("/", ""),
            ("/a/b/", "/a/b"),
            ("//a//b", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../..", ""),
        ];
        for (path, expected) in cleaned {
            let path = clean(path.as_bytes());
            assert_eq!(&path[..], expected.as_bytes());
            assert!(is_clean(&path));
        }
        for path in ["/", "a", "/a/", "//a", "/a/../b"] {
            assert!(!is_clean(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn seconds_left_are_counted_up() {
        let now = UnixNanos(2_000_000_000 * SECOND);
        let left = |nanos: i64| now.seconds_until(UnixNanos(now.0 + nanos));
        assert_eq!([left(1), left(SECOND), left(SECOND + 1)], [1, 1, 2]);
        assert_eq!([left(0), left(-1), left(-SECOND)], [0, 0, -1]);
        assert_eq!(now.expiration(5), Some(UnixNanos(now.0 + 5 * SECOND)));
        assert_eq!(now.expiration(99_999_999_999), None);
    }
}
