//! etcd's v2 key space: a tree of files and directories with an index of its own.
//!
//! It lies in a table of its own ([`Table::V2`](crate::view::Table::V2)), beside v3's keys and apart
//! from them, as in etcd. Nothing of it is there before the first write.
//!
//! - [`apply`]: what a committed [`Write`] does to the rows, and the [`Event`] that it makes.
//! - [`tree`]: reads of the tree. [`history`]: the events of the last
//!   [`V2_HISTORY_EVENTS`](crate::limits::V2_HISTORY_EVENTS) indexes, which are rows, too: every
//!   member answers a `waitIndex` alike, and after a restart as before.
//! - [`watch::Hub`]: the watchers of one member.
//! - [`auth`]: users, roles, and who may read and write what.
//!
//! # Time
//! A write carries the wall clock of the member that took it: the expiration that clients are told,
//! and what is left of an earlier one, are functions of the log. When a node goes is the leader's
//! business, as with leases, and by the same means ([`crate::lease::Lessor`]): each time-to-live that
//! a write sets is named by the index of that write, and lasts its seconds from when the leader
//! applied it. A new leader gives each its whole time again, so no clock shortens a life.
//!
//! # Glossary
//! *Index*: the number of a change of the tree (etcd: X-Etcd-Index), which is neither v3's revision
//! nor an index of the raft log. *Path*: bytes, `/a/b`; the root's is empty. *Hidden*: a node whose
//! name begins with `_`, which listings leave out.

mod apply;
pub mod auth;
mod codec;
mod error;
pub mod history;
pub mod tree;
mod types;
pub mod watch;

pub(crate) use apply::{apply, expire, note_members};
pub use codec::{check_row, decode_write, encode_write};
pub use error::{Code, Refused, TreeError};
pub use types::{
    Action, Applied, Dialect, Event, Operation, ShownNode, TtlChange, UnixNanos, Write, clean,
    is_clean,
};
