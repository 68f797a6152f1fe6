//! Gives back the space of removed rows, and says how much is taken.
//!
//! fjall removes a row by writing a mark over it. Row and mark stay, and every scan walks over
//! them, until files that hold both are merged into the last level; fjall does so by itself only
//! when much more was written. Here it is done when much was removed.

use super::super::space::Held;
use super::Shared;
use super::generation::{Generation, Removed};
use super::root::{SEQUENCE_KEY, pass_sequence_buffered};
use crate::store::{Reclaim, Size};
use ::fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions};
use detcd_core::view::Table;
use lsm_tree::compaction::PullDown;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const LEVELS: u8 = 7;
/// Where fjall keeps its list of keyspaces.
const LIST_FILES: &str = "keyspaces/0/tables";

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
            Reclaim::Leftovers => false,
            Reclaim::Worthwhile => held.is_worth_merging() && has_room(shared, held),
        })
        .map(|(place, _)| place)
        .collect();
    let keyspaces: Vec<&Keyspace> = generation.keyspaces().collect();
    if chosen.is_empty() {
        return Ok(());
    }
    shared.has_old_files.store(true, Ordering::Relaxed);
    for place in chosen {
        let keyspace = keyspaces[place];
        let counted = generation.removed[place].now();
        keyspace.rotate_memtable_and_wait()?;
        match keyspace.disk_space() <= shared.options.merge_bytes {
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

/// Merges level by level, so that fjall's own merges of other levels need not wait. A level that
/// one of those works on is left to the next time.
fn merge_down(shared: &Shared, keyspace: &Keyspace) -> ::fjall::Result<()> {
    let tree = &keyspace.tree;
    for level in 0..LEVELS - 1 {
        if tree.level_table_count(level.into()).unwrap_or(0) > 0 {
            let snapshots = &shared.database.supervisor.snapshot_tracker;
            let merge = Arc::new(PullDown(level, level + 1));
            tree.compact(merge, snapshots.get_seqno_safe_to_gc())?;
        }
    }
    Ok(())
}

fn held(generation: &Generation) -> Vec<Held> {
    let tables = generation.keyspaces().zip(&generation.removed).enumerate();
    tables
        .map(|(place, (keyspace, removed))| {
            let tree = &keyspace.tree;
            let file_bytes = tree.disk_space();
            let version = tree.current_version();
            let last = version.level(usize::from(LEVELS - 1));
            let last_bytes = last.map_or(0, |level| level.size());
            let buffer = tree.active_memtable();
            // fjall's own merges give space back, too: more marks than these are not left.
            let marks = tree.tombstone_count() + buffer.len() as u64;
            let (removed_rows, removed_bytes) = removed.of_rows(marks);
            Held {
                file_bytes,
                upper_bytes: file_bytes.saturating_sub(last_bytes),
                buffer_bytes: buffer.size(),
                rows: tree.approximate_len() as u64,
                removed_rows,
                removed_bytes,
                is_written_over: Table::ALL.get(place) == Some(&Table::Current),
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

    /// What was counted, if no more rows than that can be meant.
    fn of_rows(&self, rows_max: u64) -> (u64, u64) {
        let (rows, bytes) = self.now();
        let left = rows.min(rows_max);
        let share = match rows {
            0 => 0,
            _ => u128::from(bytes) * u128::from(left) / u128::from(rows),
        };
        (left, share as u64)
    }

    /// After a merge only these rows are left of what was counted before it: snapshots show them.
    fn settle(&self, before: (u64, u64), left: u64) {
        let counted = Removed {
            rows: before.0.into(),
            bytes: before.1.into(),
        };
        let left = counted.of_rows(left);
        self.rows.fetch_sub(before.0 - left.0, Ordering::Relaxed);
        self.bytes.fetch_sub(before.1 - left.1, Ordering::Relaxed);
    }
}

pub(super) fn size(shared: &Shared) -> Size {
    let database = &shared.database;
    let generation = shared.active();
    let active = held(&generation);
    let of = |bytes: fn(&Held) -> u64| active.iter().map(bytes).sum::<u64>();
    let files = of(|table| table.file_bytes);
    // What is in memory still is in the journal too. The journal's files do not count: they are of
    // full length even when the store is empty. If they cannot be listed, other calls will say so.
    let gone = shared.buffers_gone.load(Ordering::Relaxed);
    let waiting = database.write_buffer_size().saturating_sub(gone);
    let all_files = match (database.disk_space(), database.journal_disk_space()) {
        (Ok(all), Ok(journal)) => all.saturating_sub(journal),
        _ => files,
    };
    let buffers = of(|table| table.buffer_bytes);
    // Full buffers that are being put into files: fjall tells how many there are, and of its figure
    // for all buffers it takes those off only that are written, not those of a removed keyspace.
    let full = generation.keyspaces();
    let full: usize = full.map(|it| it.tree.sealed_memtable_count()).sum();
    let full_bytes = full as u64 * shared.options.write_buffer_bytes;
    let elsewhere = waiting.saturating_sub(buffers).min(full_bytes);
    let total_bytes = all_files.max(files) + buffers + elsewhere;
    Size {
        total_bytes,
        in_use_bytes: total_bytes.min(of(Held::in_use_bytes) + elsewhere),
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

/// The tree of fjall's own list of keyspaces: fjall opens it just before all others. (Not if
/// another store is opened at the same time: then this is nothing's number.)
pub(super) fn list_tree(database: &Database) -> ::fjall::Result<u64> {
    let names = database.list_keyspace_names().into_iter();
    let trees = names.map(|name| {
        let keyspace = database.keyspace(&name, KeyspaceCreateOptions::default)?;
        Ok(keyspace.tree.id())
    });
    let trees = trees.collect::<::fjall::Result<Vec<u64>>>()?;
    Ok(trees
        .into_iter()
        .min()
        .map_or(0, |first| first.saturating_sub(1)))
}

/// Each change of fjall's list of keyspaces leaves small files, all of them open until the store
/// is. What is needed again is opened again.
pub(super) fn close_list(shared: &Shared) {
    let Some(open) = &shared.root.tree.tree_config().descriptor_table else {
        return;
    };
    let Ok(files) = std::fs::read_dir(shared.path.join(LIST_FILES)) else {
        return;
    };
    let numbers = files.filter_map(|file| file.ok()?.file_name().to_str()?.parse::<u64>().ok());
    for number in numbers {
        open.remove_for_table(&(shared.list_tree, number).into());
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if self.is_deleted.load(Ordering::Relaxed) {
            self.keyspaces().for_each(close_files);
        }
    }
}
