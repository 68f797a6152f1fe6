//! The state of a snapshot in memory, to be read like a store.

use crate::daemon::restored::RestoreError;
use bytes::Bytes;
use detcd_bolt::read::{File, Found, Source};
use detcd_core::restore::{Restore, RestoreOptions};
use detcd_core::view::{Batch, Direction, Fault, KeyBounds, Rows, Table, View};
use std::collections::BTreeMap;
use std::ops::Bound;

#[derive(Default)]
pub struct Memory {
    tables: BTreeMap<Table, BTreeMap<Bytes, Bytes>>,
}

impl Memory {
    pub fn of<S: Source>(file: File<S>) -> Result<Memory, RestoreError> {
        let mut memory = Memory::default();
        let mut restore = Restore::default();
        file.walk::<RestoreError>(&mut |names, found| {
            if let ([bucket], Found::Row { key, value }) = (names, found) {
                restore.row(bucket, key, value)?;
                if let Some(batch) = restore.take(1) {
                    memory.write(batch);
                }
            }
            Ok(())
        })?;
        memory.write(restore.finish(RestoreOptions::default()).0);
        Ok(memory)
    }

    fn write(&mut self, batch: Batch) {
        for write in batch.writes {
            let rows = self.tables.entry(write.table).or_default();
            match write.value {
                Some(value) => rows.insert(write.key, value),
                None => rows.remove(&write.key),
            };
        }
    }
}

impl View for Memory {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        let rows = self.tables.get(&table);
        Ok(rows.and_then(|rows| rows.get(key)).cloned())
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>, direction: Direction) -> Rows<'a> {
        let (Some(rows), false) = (self.tables.get(&table), is_empty(bounds)) else {
            return Box::new(std::iter::empty());
        };
        let rows = rows.range::<[u8], _>(bounds);
        let rows = rows.map(|(key, value)| Ok((key.clone(), value.clone())));
        match direction {
            Direction::Forward => Box::new(rows),
            Direction::Reverse => Box::new(rows.rev()),
        }
    }
}

/// Whether no key is within, as a tree of rows does not like to be asked.
fn is_empty(bounds: KeyBounds<'_>) -> bool {
    match bounds {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end))
        | (Bound::Excluded(start), Bound::Included(end)) => start >= end,
        _ => false,
    }
}
