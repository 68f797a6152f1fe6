//! Gives back the space of removed rows, and says how much is taken.
//!
//! fjall removes a row by writing a mark over it. Row and mark stay, and every scan walks over
//! them, until files that hold both are merged into the last level; fjall does so by itself only
//! when much more was written. Here it is done when much was removed.

use super::super::space::Held;
use super::{Generation, Removed, SEQUENCE_KEY, Shared, pass_sequence_buffered};
use crate::store::{Reclaim, Size};
use ::fjall::{AbstractTree, Keyspace};
use detcd_core::view::Table;
use lsm_tree::compaction::PullDown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Up to this size a table is merged in one go, which keeps fjall's own merges of it waiting.
const AT_ONCE_BYTES: u64 = 256 * 1024 * 1024;
const LEVELS: u8 = 7;
/// How often, and how long after, a merge that met another one is tried again.
const TRIES_MAX: u32 = 50;
const TRY_PAUSE: Duration = Duration::from_millis(100);

/// Merges the files of tables into new ones, table by table. Reading and writing go on meanwhile;
/// the disk needs room for the largest table once more. Snapshots taken before keep the old files:
/// when they are gone, the next run removes them.
pub(super) fn run(shared: &Shared, reclaim: Reclaim) -> ::fjall::Result<()> {
    if shared.has_old_files.swap(false, Ordering::Relaxed) {
        // fjall looks which snapshots are left when a buffer is turned over.
        shared.root.insert(SEQUENCE_KEY, [])?;
        shared.root.rotate_memtable()?;
    }
    let generation = shared.active();
    let chosen: Vec<usize> = held(&generation)
        .into_iter()
        .enumerate()
        .filter(|(_, held)| match reclaim {
            Reclaim::All => true,
            Reclaim::Worthwhile => held.is_worth_merging() && has_room(shared, held),
        })
        .map(|(place, _)| place)
        .collect();
    let keyspaces: Vec<&Keyspace> = generation.keyspaces().collect();
    let chosen = || chosen.iter().map(|place| (*place, keyspaces[*place]));
    for (_, keyspace) in chosen() {
        keyspace.rotate_memtable()?;
    }
    if chosen().next().is_some() {
        shared.has_old_files.store(true, Ordering::Relaxed);
    }
    for (place, keyspace) in chosen() {
        let counted = generation.removed[place].now();
        while keyspace.tree.sealed_memtable_count() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        match keyspace.disk_space() <= AT_ONCE_BYTES {
            true => keyspace.major_compact()?,
            false => merge_down(shared, keyspace)?,
        }
        let left = keyspace.tree.tombstone_count();
        generation.removed[place].settle(counted, left);
    }
    // A snapshot shows the files of the sequence number before its own.
    pass_sequence_buffered(&shared.root, 2)
}

/// Whether a merge leaves room on the disk for what is written meanwhile.
fn has_room(shared: &Shared, held: &Held) -> bool {
    match rustix::fs::statvfs(&shared.path) {
        Ok(disk) => disk.f_bavail * disk.f_frsize > 2 * held.bytes(),
        Err(_) => false,
    }
}

/// Merges level by level, so that fjall's own merges of other levels need not wait.
fn merge_down(shared: &Shared, keyspace: &Keyspace) -> ::fjall::Result<()> {
    let tree = &keyspace.tree;
    for level in 0..LEVELS - 1 {
        let tables = || tree.level_table_count(level.into()).unwrap_or(0);
        for _ in 0..TRIES_MAX {
            let before = tables();
            if before == 0 {
                break;
            }
            let oldest = shared
                .database
                .supervisor
                .snapshot_tracker
                .get_seqno_safe_to_gc();
            tree.compact(Arc::new(PullDown(level, level + 1)), oldest)?;
            if tables() < before {
                break;
            }
            // Another merge works on some of the files.
            std::thread::sleep(TRY_PAUSE);
        }
    }
    Ok(())
}

fn held(generation: &Generation) -> Vec<Held> {
    let removed = generation.removed.iter().map(Removed::now);
    let is_written_over = |place| Table::ALL.get(place) == Some(&Table::Current);
    generation
        .keyspaces()
        .zip(removed)
        .enumerate()
        .map(|(place, (keyspace, (removed_rows, removed_bytes)))| {
            let tree = &keyspace.tree;
            let file_bytes = tree.disk_space();
            let version = tree.current_version();
            let last = version.level(usize::from(LEVELS - 1));
            Held {
                file_bytes,
                upper_bytes: file_bytes - last.map_or(0, |level| level.size()).min(file_bytes),
                buffer_bytes: tree.active_memtable().size(),
                rows: tree.approximate_len() as u64,
                removed_rows,
                removed_bytes,
                is_written_over: is_written_over(place),
            }
        })
        .collect()
}

impl Removed {
    fn now(&self) -> (u64, u64) {
        (
            self.rows.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    /// Of what was counted before a merge only these rows are left: snapshots show them.
    fn settle(&self, (rows, bytes): (u64, u64), left: u64) {
        let left = left.min(rows);
        let bytes_left = match rows {
            0 => 0,
            _ => (u128::from(bytes) * u128::from(left) / u128::from(rows)) as u64,
        };
        self.rows.fetch_sub(rows - left, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes - bytes_left, Ordering::Relaxed);
    }
}

pub(super) fn size(shared: &Shared) -> Size {
    let database = &shared.database;
    let active = shared.active();
    let files: u64 = active.keyspaces().map(Keyspace::disk_space).sum();
    // What is in memory still is in the journal too. The journal's files do not count: they are of
    // full length even when the store is empty. If they cannot be listed, other calls will say so.
    let gone = shared.buffers_gone.load(Ordering::Relaxed);
    let waiting = database.write_buffer_size().saturating_sub(gone);
    let all_files = match (database.disk_space(), database.journal_disk_space()) {
        (Ok(all), Ok(journal)) => all.saturating_sub(journal),
        _ => files,
    };
    let removed: u64 = active.removed.iter().map(|removed| removed.now().1).sum();
    Size {
        total_bytes: all_files.max(files) + waiting,
        in_use_bytes: (files + waiting).saturating_sub(removed),
    }
}

/// fjall keeps the files of a removed keyspace open, among those that it may need again, and so
/// keeps their space.
pub(super) fn close_files(keyspace: &Keyspace) {
    let tree = &keyspace.tree;
    if let Some(open) = &tree.tree_config().descriptor_table {
        for table in tree.current_version().iter_tables() {
            open.remove_for_table(&(tree.id(), table.id()).into());
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if self.is_deleted.load(Ordering::Relaxed) {
            self.keyspaces().for_each(close_files);
        }
    }
}
