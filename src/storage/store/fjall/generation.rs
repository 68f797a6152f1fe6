//! A generation of the state: its keyspaces, and how a batch is written to them.

use super::options::{StoreOptions, table_options};
use super::root::{FORMAT_KEY, FORMAT_LONG_KEYS};
use super::{Shared, fault, long, read_fault};
use ::fjall::{AbstractTree, Database, Keyspace, PersistMode};
use bytes::Bytes;
use detcd_core::view::{Batch, Fault, Table};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The keyspace of a generation for rows with long keys.
const OVERFLOW: &str = "overflow";

/// The keyspaces of one generation.
pub(super) struct Generation {
    /// In the order of [`Table::ALL`].
    pub(super) tables: Vec<Keyspace>,
    /// Rows with long keys, of all tables.
    pub(super) overflow: Keyspace,
    /// What was removed and still takes space: of each table, and last of the long keys.
    pub(super) removed: Vec<Removed>,
    /// Held over each batch with long keys.
    long_writes: Mutex<()>,
    /// Set once it is not in force any more.
    pub(super) is_deleted: AtomicBool,
}

/// Rows that were removed and whose space is not given back.
#[derive(Debug, Default)]
pub(super) struct Removed {
    pub(super) rows: AtomicU64,
    pub(super) bytes: AtomicU64,
}

impl Generation {
    pub(super) fn open(
        database: &Database,
        number: u64,
        options: &StoreOptions,
    ) -> ::fjall::Result<Generation> {
        let open = |name: &str, table: Option<Table>| {
            let name = format!("{number:016x}-{name}");
            database.keyspace(&name, || table_options(table, options))
        };
        let tables = Table::ALL.into_iter();
        let tables = tables.map(|table| open(table.name(), Some(table)));
        let tables: Vec<Keyspace> = tables.collect::<Result<_, _>>()?;
        // Kept as the table is whose rows have the longest keys.
        let overflow = open(OVERFLOW, Some(Table::Versions))?;
        let found = |keyspace: &Keyspace| Removed {
            rows: AtomicU64::new(keyspace.tree.tombstone_count()),
            bytes: AtomicU64::new(0),
        };
        Ok(Generation {
            removed: tables.iter().chain([&overflow]).map(found).collect(),
            tables,
            overflow,
            long_writes: Mutex::new(()),
            is_deleted: AtomicBool::new(false),
        })
    }

    pub(super) fn table(&self, table: Table) -> &Keyspace {
        &self.tables[place_of(table)]
    }

    /// All of them, the one of the long keys last.
    pub(super) fn keyspaces(&self) -> impl Iterator<Item = &Keyspace> {
        self.tables.iter().chain([&self.overflow])
    }

    /// Rows are kept in the buffers that they came in: apply lays out all rows of a put in one
    /// allocation of their own, which the tables then share.
    pub(super) fn write(&self, shared: &Shared, batch: Batch) -> Result<(), Fault> {
        let count = batch.writes.len();
        let mut rows = ::fjall::OwnedWriteBatch::with_capacity(shared.database.clone(), count)
            .durability(Some(PersistMode::Buffer));
        let mut long = Vec::new();
        for (table, key, value) in last_of_each_row(batch) {
            if key.is_empty() {
                return Err(Fault(format!(
                    "an empty key for the table {}",
                    table.name()
                )));
            }
            if long::is_long(&key) {
                long.push((table, key, value));
                continue;
            }
            match value {
                Some(value) => rows.insert(self.table(table), key, value),
                None => {
                    let counted = self.count_removed(place_of(table), self.table(table), &key);
                    counted.map_err(|error| read_fault(table, &error))?;
                    rows.remove(self.table(table), key);
                }
            }
        }
        let failed = |error| fault("write a batch", &error);
        if long.is_empty() {
            return rows.commit().map_err(failed);
        }
        let lock = self.long_writes.lock();
        let _lock = lock.unwrap_or_else(PoisonError::into_inner);
        if !shared.has_long_keys.load(Ordering::Relaxed) {
            rows.insert(&shared.root, FORMAT_KEY, FORMAT_LONG_KEYS.to_be_bytes());
        }
        long::lay_out(self, long, &mut rows)?;
        rows.commit().map_err(failed)?;
        shared.has_long_keys.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Counts a row that is about to be removed, and the mark that removes it.
    pub(super) fn count_removed(
        &self,
        place: usize,
        keyspace: &Keyspace,
        key: &[u8],
    ) -> ::fjall::Result<()> {
        let key_bytes = key.len() as u64;
        let row = keyspace.size_of(key)?;
        let row = row.map_or(0, |value| key_bytes + u64::from(value));
        let removed = &self.removed[place];
        removed.rows.fetch_add(1, Ordering::Relaxed);
        removed.bytes.fetch_add(row + key_bytes, Ordering::Relaxed);
        Ok(())
    }
}

/// The place in [`Table::ALL`].
pub(super) fn place_of(table: Table) -> usize {
    let place = Table::ALL.iter().position(|it| *it == table);
    place.expect("every table is listed")
}

pub(super) fn bytes_of(batch: &Batch) -> u64 {
    let bytes = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
    let rows = batch.writes.iter();
    rows.map(|row| (row.key.len() + bytes(&row.value)) as u64)
        .sum()
}

/// Of several writes to a row the last wins; fjall gives all rows of a batch one sequence number
/// and would not know which.
fn last_of_each_row(batch: Batch) -> Vec<(Table, Bytes, Option<Bytes>)> {
    let mut rows: Vec<_> = batch
        .writes
        .into_iter()
        .map(|write| (write.table, write.key, write.value))
        .collect();
    // Stable: writes to one row stay in their order.
    rows.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    rows.dedup_by(|later, kept| {
        let same = (later.0, &later.1) == (kept.0, &kept.1);
        if same {
            kept.2 = later.2.take();
        }
        same
    });
    rows
}
