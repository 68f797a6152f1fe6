//! A point in time of the state, as readers hold it.

use super::generation::Generation;
use super::{long, read_fault};
use ::fjall::{Readable, Snapshot};
use bytes::Bytes;
use detcd_core::view::{Direction, Fault, KeyBounds, Rows, Table, View};
use std::ops::Bound;
use std::sync::Arc;

/// A point in time of the state.
#[derive(Clone)]
pub struct FjallSnapshot {
    pub(super) generation: Arc<Generation>,
    /// Shared, because a clone of its own would be one more that fjall keeps track of.
    pub(super) snapshot: Arc<Snapshot>,
}

impl FjallSnapshot {
    pub(super) fn into_rows(
        self,
        table: Table,
        bounds: KeyBounds<'_>,
        direction: Direction,
    ) -> Rows<'static> {
        match is_empty(bounds) {
            true => Box::new(std::iter::empty()),
            false => Box::new(long::Scan::new(self, table, bounds, direction)),
        }
    }
}

/// Whether no key can lie within the bounds.
fn is_empty(bounds: KeyBounds<'_>) -> bool {
    use Bound::{Excluded, Included, Unbounded};
    match bounds {
        (Unbounded, _) | (_, Unbounded) => false,
        (Included(start), Included(end)) => start > end,
        (Included(start) | Excluded(start), Included(end) | Excluded(end)) => start >= end,
    }
}

impl View for FjallSnapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        let row = match long::is_long(key) {
            false => self.snapshot.get(self.generation.table(table), key),
            true => {
                let key = long::row_key(table, key);
                self.snapshot.get(&self.generation.overflow, key)
            }
        };
        row.map(|row| row.map(Bytes::from))
            .map_err(|error| read_fault(table, &error))
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>, direction: Direction) -> Rows<'a> {
        self.clone().into_rows(table, bounds, direction)
    }
}
