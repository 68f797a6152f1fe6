//! What the core sees of stored rows, and what it wants written.

use crate::kv::index::KeyIndex;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::ops::Bound;

/// A table of the applied state. The discriminant is part of the stored format (it tags rows in
/// snapshots), so it is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Single rows: applied index, revision, compaction, membership, format version.
    Meta = 1,
    /// key -> its latest live version, value included. Reading the latest never touches history.
    Current = 2,
    /// revision -> the change made at it (key, value or tombstone). Watch catch-up, hashes, reads
    /// of the past and compaction walk it in revision order.
    Events = 3,
    /// (key, revision) -> put or delete: what was done to a key, but for the latest put of a live
    /// key, which `Current` shows. Reads of the past start here.
    Versions = 4,
    /// lease id -> granted time-to-live.
    Lease = 5,
    /// (lease id, key) -> empty: which keys a lease holds.
    LeaseKeys = 6,
    /// member id -> member (name, peer URLs, client URLs).
    Member = 7,
    /// (member id, alarm) -> empty.
    Alarm = 8,
    /// The tree of v2, its times-to-live and its last events, see [`crate::v2`].
    V2 = 9,
    /// name -> user (password's hash, roles), see [`crate::auth`].
    User = 10,
    /// name -> role (permissions), see [`crate::auth`].
    Role = 11,
}

impl Table {
    /// Every table, in the order in which a snapshot carries them.
    pub const ALL: [Table; 11] = [
        Table::Meta,
        Table::Current,
        Table::Events,
        Table::Versions,
        Table::Lease,
        Table::LeaseKeys,
        Table::Member,
        Table::Alarm,
        Table::V2,
        Table::User,
        Table::Role,
    ];

    /// The table with this tag, or `None` for a tag that no version of the format knows.
    pub fn from_tag(tag: u8) -> Option<Table> {
        Table::ALL.into_iter().find(|table| *table as u8 == tag)
    }

    /// The name under which a store keeps the table.
    pub fn name(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Current => "current",
            Table::Events => "events",
            Table::Versions => "versions",
            Table::Lease => "lease",
            Table::LeaseKeys => "lease_keys",
            Table::Member => "member",
            Table::Alarm => "alarm",
            Table::V2 => "v2",
            Table::User => "user",
            Table::Role => "role",
        }
    }
}

/// Why the member must halt: stored bytes that cannot be read or make no sense. Never an error of
/// a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub alloc::string::String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Fault {}

/// A row as a scan gives it.
pub type Row = (Bytes, Bytes);

/// Rows in key order (or its reverse), until the first fault.
pub type Rows<'a> = Box<dyn Iterator<Item = Result<Row, Fault>> + 'a>;

/// Key bounds of a scan.
pub type KeyBounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Which way a scan walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Reverse,
}

/// A point-in-time view of all tables. Everything that the core reads, it reads through this.
pub trait View {
    /// The value of `key`, if the row exists.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault>;
    /// The rows within `bounds`, lazily. Inverted bounds give no rows and never panic.
    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>, direction: Direction) -> Rows<'a>;
    /// The index of the keys that are live in this very state, if there is one. With it a limited
    /// read costs what it gives; without it, what its range holds.
    fn keys(&self) -> Option<&KeyIndex> {
        None
    }
}

impl<V: View + ?Sized> View for Arc<V> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        (**self).get(table, key)
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>, direction: Direction) -> Rows<'a> {
        (**self).scan(table, bounds, direction)
    }

    fn keys(&self) -> Option<&KeyIndex> {
        (**self).keys()
    }
}

/// A write to one row: `value = None` deletes it (deleting a row that is not there is no error).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub table: Table,
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// Writes that become visible and durable together, in order (a later write of a row wins).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub writes: Vec<Write>,
}

impl Batch {
    pub fn put(&mut self, table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.writes.push(Write {
            table,
            key: key.into(),
            value: Some(value.into()),
        });
    }

    pub fn delete(&mut self, table: Table, key: impl Into<Bytes>) {
        self.writes.push(Write {
            table,
            key: key.into(),
            value: None,
        });
    }

    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}
