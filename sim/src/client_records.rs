//! What the clients of single workloads write down, beside the operations of all.

use bytes::Bytes;
use detcd_core::api::{KeyChange, KeyRange, KeyValue};
use detcd_wire::mvccpb;
use std::fmt;
use std::time::Duration;

/// What was said on one stream of the workload `streams`, in the order of its client.
#[derive(Clone, Debug)]
pub struct Connection {
    pub client: u32,
    pub ended: Duration,
    pub heard: Vec<Heard>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The client asks for a watcher; the id 0 leaves the choice to the server.
    Create {
        id: i64,
        fragment: bool,
    },
    Cancel {
        id: i64,
    },
    Created {
        id: i64,
    },
    /// The oldest creation that was not answered yet is refused.
    Refused,
    Canceled {
        id: i64,
    },
    Events {
        id: i64,
        /// More of it is to follow.
        fragment: bool,
    },
    /// The id -1 is the whole stream.
    Progress {
        id: i64,
    },
    /// Progress below the revision at which a watcher was to start.
    EarlyProgress {
        id: i64,
    },
}

/// A transaction on lists: the workload `append`.
#[derive(Clone, Debug)]
pub struct ListTxn {
    pub client: u32,
    pub called: Duration,
    pub ended: Duration,
    pub acts: Vec<ListAct>,
    pub end: End,
}

/// One step of a [`ListTxn`], as if its steps were done one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListAct {
    /// No element is ever appended twice.
    Append { key: Bytes, element: u64 },
    /// What the list was then. Of a transaction without an answer nothing is known.
    Read { key: Bytes, list: Option<Vec<u64>> },
}

/// How a transaction ended, as its client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Committed,
    /// It had no effect and never will.
    Aborted,
    Unknown,
}

/// Accounts between which money moves: the workload `bank`.
#[derive(Clone, Debug)]
pub struct Bank {
    /// All its accounts, and nothing else.
    pub range: KeyRange,
    pub accounts: usize,
    pub total: u64,
}

/// Keys each of which names the next: the workload `cycle`.
#[derive(Clone, Debug)]
pub struct Ring {
    /// All its keys, and nothing else.
    pub range: KeyRange,
    pub nodes: usize,
}

/// One client's turn in a queue: the workloads `lock` and `election`.
#[derive(Clone, Debug)]
pub struct Turn {
    pub client: u32,
    /// The keys of all that wait or have their turn.
    pub queue: KeyRange,
    /// What those who have their turn write, guarded by their token: "token anything".
    pub guarded: Bytes,
    pub key: Bytes,
    /// The key's create revision: the fencing token.
    pub token: i64,
    /// When the client learned that it was its turn, and at which revision.
    pub entered: Duration,
    pub entered_at: i64,
    /// When it gave its turn up, or knew by its own clock that its lease might be over.
    pub left: Duration,
    /// When the last keepalive was called that was answered before it left.
    pub renewed: Duration,
    pub ttl_s: u64,
}

/// What an observer of an election saw, in order: the header's revision and the leader's key.
#[derive(Clone, Debug)]
pub struct Observer {
    pub name: String,
    pub queue: KeyRange,
    pub seen: Vec<(i64, KeyValue)>,
}

/// A snapshot that an operator saved: the workload `snapshots`.
#[derive(Clone, Debug)]
pub struct SavedSnapshot {
    pub member: usize,
    /// A revision that the member had told of before.
    pub at_least: i64,
    /// `None` if it cannot be read.
    pub content: Option<SnapshotContent>,
}

/// The revision of a snapshot's compaction, and every change: its revision, whether it is a delete,
/// and the key.
pub type SnapshotContent = (i64, Vec<(i64, bool, mvccpb::KeyValue)>);

/// A range that was read in pages, all at the revision of the first.
#[derive(Clone, Debug)]
pub struct Listing {
    pub client: u32,
    pub range: KeyRange,
    pub revision: i64,
    pub limit: i64,
    pub pages: Vec<Page>,
}

#[derive(Clone, Debug)]
pub struct Page {
    pub kvs: Vec<KeyValue>,
    pub more: bool,
    /// Of the keys from the page's first on.
    pub count: i64,
}

/// A cache of a range that is kept by a list and a watch from its revision on, as those of
/// Kubernetes are.
#[derive(Clone, Debug)]
pub struct Informer {
    pub name: String,
    pub range: KeyRange,
    pub seen: Vec<Seen>,
}

/// What moves an [`Informer`]'s cache.
#[derive(Clone, Debug)]
pub enum Seen {
    Listed {
        revision: i64,
        objects: Vec<KeyValue>,
    },
    Changed(Vec<KeyChange>),
    /// Nothing more has changed up to this revision.
    Bookmark(i64),
}

impl fmt::Display for ListTxn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (called, ended) = (self.called.as_secs_f64(), self.ended.as_secs_f64());
        write!(f, "client {} [{called:.3}s, {ended:.3}s]", self.client)?;
        if self.end != End::Committed {
            write!(f, " {:?}", self.end)?;
        }
        for act in &self.acts {
            match act {
                ListAct::Append { key, element } => {
                    write!(f, " append {element} to {};", key.escape_ascii())?;
                }
                ListAct::Read { key, list } => {
                    write!(f, " read {}:", key.escape_ascii())?;
                    match list {
                        Some(list) => write!(f, " {list:?};")?,
                        None => f.write_str(" (not known);")?,
                    }
                }
            }
        }
        Ok(())
    }
}
