//! Tables that are persistent maps, and the rows in them.

use crate::profile::{self, Part};
use crate::rng::Rng;
use crate::trace;
use bytes::Bytes;
use detcd_core::api::Revision;
use detcd_core::codec::revision_key;
use detcd_core::view::{Batch, Direction, Fault, KeyBounds, Rows, Table, View, Write};
use imbl::OrdMap;
use std::ops::Bound;

/// All tables at one moment.
#[derive(Clone, Default)]
pub struct Tables {
    pub(super) tables: [OrdMap<Bytes, Bytes>; Table::ALL.len()],
    pub(super) bytes: u64,
    /// The sum of the hashes of the rows that every member must have alike at equal applied
    /// indices. Compaction works at its own pace on each member, and `Meta` holds a member's own
    /// rows: those tables are left out.
    pub(super) replicated_hash: u64,
    /// How often the whole state was replaced before.
    pub(super) generation: u64,
    /// A row that cannot be read any more: its block does not have its checksum.
    pub(super) rotten: Option<(Table, Bytes)>,
}

/// What takes a batch back again.
pub(super) struct Undo {
    /// The rows as they were, the first written last.
    rows: Vec<Write>,
    pub(super) rotten: Option<(Table, Bytes)>,
}

pub(super) fn slot(table: Table) -> usize {
    Table::ALL
        .iter()
        .position(|other| *other == table)
        .expect("every table is in ALL")
}

fn is_replicated(table: Table) -> bool {
    match table {
        Table::Current
        | Table::Lease
        | Table::LeaseKeys
        | Table::Member
        | Table::Alarm
        | Table::V2
        | Table::User
        | Table::Role => true,
        Table::Meta | Table::Events | Table::Versions => false,
    }
}

fn row_hash(table: Table, key: &[u8], value: &[u8]) -> u64 {
    let hash = trace::mix_bytes(trace::mix(0, table as u64), key);
    trace::mix_bytes(hash, value)
}

impl Tables {
    pub fn replicated_hash(&self) -> u64 {
        self.replicated_hash
    }

    /// How many changes there are of revisions below this one, and how many from it on.
    pub fn events_around(&self, revision: i64) -> (usize, usize) {
        let first = revision_key(Revision {
            main: revision,
            sub: 0,
        });
        let events = &self.tables[slot(Table::Events)];
        let end = Bytes::copy_from_slice(&first);
        let before = events.range(..end).count();
        (before, events.len() - before)
    }

    pub fn live_keys(&self) -> usize {
        self.tables[slot(Table::Current)].len()
    }

    /// Whether the other has the same rows of the history.
    pub fn has_history_of(&self, other: &Tables) -> bool {
        let same = |table| self.tables[slot(table)] == other.tables[slot(table)];
        same(Table::Events) && same(Table::Versions)
    }

    /// An empty row, for tests of what looks at them.
    #[cfg(test)]
    pub fn write(&mut self, table: Table, key: Bytes) {
        self.tables[slot(table)].insert(key, Bytes::new());
    }

    /// Gives the value that was there before.
    fn apply(&mut self, write: Write) -> Option<Bytes> {
        let Write { table, key, value } = write;
        if self.is_rotten(table, &key) {
            self.rotten = None;
        }
        let rows = &mut self.tables[slot(table)];
        let size = |value: &Bytes| (key.len() + value.len()) as u64;
        if let Some(value) = &value {
            self.bytes += size(value);
            if is_replicated(table) {
                let hash = row_hash(table, &key, value);
                self.replicated_hash = self.replicated_hash.wrapping_add(hash);
            }
        }
        let old = match value {
            Some(value) => rows.insert(key.clone(), value),
            None => rows.remove(&key),
        };
        if let Some(old) = &old {
            self.bytes -= size(old);
            if is_replicated(table) {
                let hash = row_hash(table, &key, old);
                self.replicated_hash = self.replicated_hash.wrapping_sub(hash);
            }
        }
        old
    }

    fn is_rotten(&self, table: Table, key: &[u8]) -> bool {
        let rotten = self.rotten.as_ref();
        rotten.is_some_and(|rotten| (rotten.0, &rotten.1[..]) == (table, key))
    }

    /// Rots some row of a table that is drawn. False if there is none.
    pub(super) fn rot(&mut self, rng: &mut Rng) -> bool {
        let filled = Table::ALL
            .iter()
            .filter(|table| !self.tables[slot(**table)].is_empty());
        let filled: Vec<Table> = filled.copied().collect();
        if filled.is_empty() {
            return false;
        }
        let table = *rng.pick(&filled);
        let rows = &self.tables[slot(table)];
        let key = rows.keys().nth(rng.index(rows.len()));
        self.rotten = key.map(|key| (table, key.clone()));
        true
    }

    pub(super) fn apply_all(&mut self, batch: Batch) -> Undo {
        let _part = profile::enter(Part::Storage);
        let rotten = self.rotten.clone();
        let writes = batch.writes.into_iter().map(|write| {
            let (table, key) = (write.table, write.key.clone());
            let value = self.apply(write);
            Write { table, key, value }
        });
        let mut rows: Vec<Write> = writes.collect();
        rows.reverse();
        Undo { rows, rotten }
    }

    /// Takes the last batch back that has not been taken back yet.
    pub(super) fn undo(&mut self, undo: Undo) {
        for write in undo.rows {
            self.apply(write);
        }
        self.rotten = undo.rotten;
    }
}

impl View for Tables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        if self.is_rotten(table, key) {
            return Err(rotten(table));
        }
        Ok(self.tables[slot(table)].get(key).cloned())
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>, direction: Direction) -> Rows<'a> {
        if is_inverted(bounds) {
            return Box::new(std::iter::empty());
        }
        let rows = self.tables[slot(table)].range::<_, [u8]>(bounds);
        let owned = move |(key, value): (&Bytes, &Bytes)| match self.is_rotten(table, key) {
            true => Err(rotten(table)),
            false => Ok((key.clone(), value.clone())),
        };
        match direction {
            Direction::Forward => Box::new(rows.map(owned)),
            Direction::Reverse => Box::new(rows.rev().map(owned)),
        }
    }
}

pub(super) fn rotten(table: Table) -> Fault {
    Fault(format!("a block of {table:?} does not match its checksum"))
}

/// Bounds between which there can be no key. Maps panic on some of them.
fn is_inverted((start, end): KeyBounds<'_>) -> bool {
    match (start, end) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (
            Bound::Included(start) | Bound::Excluded(start),
            Bound::Included(end) | Bound::Excluded(end),
        ) => start >= end,
    }
}

/// A scan that owns its (persistent) table.
pub(super) struct OwnedScan {
    rows: OrdMap<Bytes, Bytes>,
    start: Bound<Bytes>,
    end: Bound<Bytes>,
    direction: Direction,
}

impl OwnedScan {
    pub(super) fn new(
        rows: OrdMap<Bytes, Bytes>,
        bounds: KeyBounds<'_>,
        direction: Direction,
    ) -> OwnedScan {
        let owned = |bound: Bound<&[u8]>| bound.map(Bytes::copy_from_slice);
        let (start, end) = bounds;
        OwnedScan {
            rows,
            start: owned(start),
            end: owned(end),
            direction,
        }
    }
}

impl Iterator for OwnedScan {
    type Item = Result<(Bytes, Bytes), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let bounds = (as_slice(&self.start), as_slice(&self.end));
        if is_inverted(bounds) {
            return None;
        }
        let mut range = self.rows.range::<_, [u8]>(bounds);
        let (key, value) = match self.direction {
            Direction::Forward => range.next(),
            Direction::Reverse => range.next_back(),
        }?;
        let row = (key.clone(), value.clone());
        drop(range);
        match self.direction {
            Direction::Forward => self.start = Bound::Excluded(row.0.clone()),
            Direction::Reverse => self.end = Bound::Excluded(row.0.clone()),
        }
        Some(Ok(row))
    }
}

fn as_slice(bound: &Bound<Bytes>) -> Bound<&[u8]> {
    bound.as_ref().map(|bytes| &bytes[..])
}
