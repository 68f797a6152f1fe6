//! The store over fjall, an LSM tree. Only this file, those under it and that of its errors name it.
//!
//! Each table of each *generation* of the state is a fjall keyspace, named
//! `<generation>-<table>`; rows with keys that are too long for fjall are in one more, see
//! [`long`]. The keyspace `root` says which generation is in force and which format
//! it has; replacing the state (a snapshot from the leader) fills a new generation beside the old
//! one and then changes that one row, durably. Generations that are not in force are leftovers of
//! a crash and removed when the store is opened.
//!
//! # Durability
//! A write goes to fjall's journal (one system call per batch) and is durable after the next
//! [`Store::persist`]. A batch is one journal record with a checksum, so that after a crash the
//! state is that of some batch border. Nothing but the journal, of bounded length, is read when
//! the store is opened.
//!
//! # Memory
//! `examples/measure.rs`: after a million 8-byte keys with 288-byte values were written twice, the
//! process held 86 MB; after 200 000 random reads, which fill the cache, 132 MB. Opening that state
//! again took 0.6 s (two cores shared with other builds).

mod long;
mod marks;
mod reclaim;

use super::blocking::Blocking;
use super::error::{self, OpenError, fault, read_fault};
use super::mark::Mark;
use super::{Reclaim, Size, Stage, Store};
use ::fjall::config::{BlockSizePolicy, PinningPolicy};
use ::fjall::{
    AbstractTree, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot,
};
use bytes::Bytes;
use detcd_core::view::{Batch, Direction, Fault, KeyBounds, Rows, Table, View};
use marks::{MARK_KEY, Marks};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

const ROOT: &str = "root";
const FORMAT_KEY: &[u8] = b"format";
const GENERATION_KEY: &[u8] = b"generation";
const SEQUENCE_KEY: &[u8] = b"sequence";
/// Bytes of rows after which the journal is synced and marked without being asked to.
const MARK_AFTER_BYTES: u64 = 16 * 1024 * 1024;
/// More sequence numbers than fjall uses to create or delete the keyspaces of a few generations.
const SEQUENCE_MARGIN: u64 = 512;
/// The format of the root rows, of the division into keyspaces, and of what each holds. Since 2 the
/// table of versions lists past ones only.
const FORMAT: u64 = 2;
/// The format once a row with a long key was written, see [`long`]: builds that know no such rows
/// would take stubs for rows. A store without long keys stays as they read it.
const FORMAT_LONG_KEYS: u64 = 3;
/// The keyspace of a generation for rows with long keys.
const OVERFLOW: &str = "overflow";
const FIRST_GENERATION: u64 = 1;
/// What the store may take.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Blocks of the files that are kept in memory.
    pub cache_bytes: u64,
    /// Writes of one of the big tables that are kept in memory before they are put into a file.
    pub write_buffer_bytes: u64,
    /// Length of the journal that is read again when the store is opened.
    pub journal_bytes: u64,
    /// Files kept open.
    pub files_max: usize,
    /// Threads that write files and merge them.
    pub workers: usize,
    /// Up to this size a table is merged in one go to give back space, which keeps fjall's own
    /// merges of it waiting; a larger one is merged level by level.
    pub merge_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            cache_bytes: 48 * 1024 * 1024,
            write_buffer_bytes: 16 * 1024 * 1024,
            journal_bytes: 64 * 1024 * 1024,
            files_max: 256,
            // fjall 3.1 keeps the first of several workers for files to be written: while another
            // merges, it spins, handing itself the same message. One worker does both in turn.
            workers: 1,
            merge_bytes: 256 * 1024 * 1024,
        }
    }
}

/// The applied state in fjall.
pub struct FjallStore {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    database: Database,
    /// See [`reclaim::list_tree`].
    list_tree: u64,
    options: StoreOptions,
    root: Keyspace,
    /// Whether the root row of the format says that there are long keys.
    has_long_keys: AtomicBool,
    /// The generation in force. Snapshots are taken under the lock, so that none falls between
    /// two generations.
    active: RwLock<Arc<Generation>>,
    /// The number of the next generation.
    next: Mutex<u64>,
    /// Bytes that fjall counts as buffered, of generations that are gone.
    buffers_gone: AtomicU64,
    /// Whether files that were merged may be left for snapshots.
    has_old_files: AtomicBool,
    marks: Mutex<Marks>,
    /// Bytes of rows since the last mark.
    unmarked: AtomicU64,
    blocking: Blocking,
    /// A thread of its own: it is busy for long.
    reclaiming: Blocking,
}

/// The keyspaces of one generation.
struct Generation {
    /// In the order of [`Table::ALL`].
    tables: Vec<Keyspace>,
    /// Rows with long keys, of all tables.
    overflow: Keyspace,
    /// What was removed and still takes space: of each table, and last of the long keys.
    removed: Vec<Removed>,
    /// Held over each batch with long keys.
    long_writes: Mutex<()>,
    /// Set once it is not in force any more.
    is_deleted: AtomicBool,
}

/// Rows that were removed and whose space is not given back.
#[derive(Debug, Default)]
struct Removed {
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl FjallStore {
    pub fn open(path: impl AsRef<Path>, options: StoreOptions) -> Result<FjallStore, OpenError> {
        let path = path.as_ref();
        error::watch(path);
        let mark = Mark::find(path)?;
        let failed = |error: ::fjall::Error| OpenError::of(path, &error);
        let database = Database::builder(path)
            .cache_size(options.cache_bytes)
            .max_journaling_size(options.journal_bytes.max(64 * 1024 * 1024))
            .max_cached_files(Some(options.files_max))
            .worker_threads(options.workers)
            .open()
            .map_err(failed)?;
        let root = database
            .keyspace(ROOT, || table_options(None, &options))
            .map_err(failed)?;
        let has_long_keys = match read_number(&root, FORMAT_KEY).map_err(failed)? {
            None | Some(FORMAT) => false,
            Some(FORMAT_LONG_KEYS) => true,
            Some(found) => {
                return Err(OpenError::Format {
                    path: path.display().to_string(),
                    found,
                    ours: FORMAT_LONG_KEYS,
                });
            }
        };
        let stored = read_number(&root, MARK_KEY).map_err(failed)?;
        Mark::check(mark.as_ref(), stored, path)?;
        let list_tree = reclaim::list_tree(&database).map_err(failed)?;
        let generation = read_number(&root, GENERATION_KEY).map_err(failed)?;
        pass_sequence(&database, &root, SEQUENCE_MARGIN).map_err(failed)?;
        let mut marks = Marks::new(path, stored.unwrap_or(0));
        if let Some(number) = generation {
            // What is removed now must not be missed at the next start.
            let active = Generation::open(&database, number, &options).map_err(failed)?;
            marks
                .write(&root, &active)
                .map_err(|error| failed(error.into()))?;
        }
        remove_others(&database, generation).map_err(failed)?;
        let number = generation.unwrap_or(FIRST_GENERATION);
        let active = Generation::open(&database, number, &options).map_err(failed)?;
        pass_sequence(&database, &root, 1).map_err(failed)?;
        if generation.is_none() {
            make_active(&database, &root, FORMAT, number).map_err(failed)?;
        }
        marks.advance(&database, &root, &active).map_err(failed)?;
        let thread = |name| Blocking::start(name).map_err(|error| failed(error.into()));
        let (blocking, reclaiming) = (thread("store-sync")?, thread("store-reclaim")?);
        let active = RwLock::new(Arc::new(active));
        let next = Mutex::new(number + 1);
        let shared = Shared {
            path: path.to_owned(),
            database,
            list_tree,
            options,
            root,
            has_long_keys: AtomicBool::new(has_long_keys),
            active,
            next,
            buffers_gone: AtomicU64::new(0),
            has_old_files: AtomicBool::new(false),
            marks: Mutex::new(marks),
            unmarked: AtomicU64::new(0),
            blocking,
            reclaiming,
        };
        Ok(FjallStore {
            shared: Arc::new(shared),
        })
    }
}

/// The generation to which the keyspace belongs, if it belongs to one.
fn generation_of(keyspace: &str) -> Option<u64> {
    u64::from_str_radix(keyspace.split_once('-')?.0, 16).ok()
}

/// Removes what a crash left of generations that are not in force.
fn remove_others(database: &Database, active: Option<u64>) -> ::fjall::Result<()> {
    let mut names = database.list_keyspace_names();
    names.sort_unstable();
    for name in names {
        let generation = generation_of(&name);
        if generation.is_some() && generation != active {
            tracing::info!(keyspace = %name, "removing what is left of an unfinished state");
            let keyspace = database.keyspace(&name, KeyspaceCreateOptions::default)?;
            database.delete_keyspace(keyspace.clone())?;
            reclaim::close_files(&keyspace);
        }
    }
    Ok(())
}

/// Puts a generation in force, durably together with everything that was written to it.
fn make_active(
    database: &Database,
    root: &Keyspace,
    format: u64,
    number: u64,
) -> ::fjall::Result<()> {
    let mut batch = database.batch().durability(Some(PersistMode::SyncAll));
    batch.insert(root, FORMAT_KEY, format.to_be_bytes());
    batch.insert(root, GENERATION_KEY, number.to_be_bytes());
    batch.commit()
}

/// Uses up sequence numbers, durably. At a restart fjall 3.1 goes on after the highest number
/// found in the keyspaces, but creating and deleting keyspaces uses numbers as well, which only
/// its own list of keyspaces remembers. Going back below those would make it take a keyspace that
/// was created later for deleted, and drop its files. So: enough numbers are passed before the
/// first change of the list, and one is made durable after every change.
fn pass_sequence(database: &Database, root: &Keyspace, count: u64) -> ::fjall::Result<()> {
    pass_sequence_buffered(root, count)?;
    database.persist(PersistMode::SyncAll)
}

fn pass_sequence_buffered(root: &Keyspace, count: u64) -> ::fjall::Result<()> {
    (0..count).try_for_each(|_| root.insert(SEQUENCE_KEY, []))
}

fn read_number(root: &Keyspace, key: &[u8]) -> ::fjall::Result<Option<u64>> {
    let Some(value) = root.get(key)? else {
        return Ok(None);
    };
    let bytes = <[u8; 8]>::try_from(&value[..]);
    let bytes = bytes.map_err(|_| std::io::Error::other("a root row has the wrong length"))?;
    Ok(Some(u64::from_be_bytes(bytes)))
}

/// How a table is kept. The three big ones share most of the memory; the single rows of the small
/// ones are overwritten all the time, so their buffers are small.
fn table_options(table: Option<Table>, options: &StoreOptions) -> KeyspaceCreateOptions {
    let big = options.write_buffer_bytes;
    let buffer = match table {
        Some(Table::Current | Table::Events) => big,
        Some(Table::Versions) => big / 2,
        Some(Table::Lease | Table::LeaseKeys) => big / 4,
        Some(Table::Meta | Table::Member | Table::Alarm) | None => big / 8,
    };
    KeyspaceCreateOptions::default()
        .max_memtable_size(buffer)
        .data_block_size_policy(BlockSizePolicy::all(4 * 1024))
        // Indexes and filters live in the cache like everything else: memory is what the options
        // say, whatever the size of the state.
        .index_block_pinning_policy(PinningPolicy::all(false))
        .filter_block_pinning_policy(PinningPolicy::all(false))
        .index_block_partitioning_policy(PinningPolicy::all(true))
        .filter_block_partitioning_policy(PinningPolicy::all(true))
        // Events are looked up by revisions that exist.
        .expect_point_read_hits(table == Some(Table::Events))
}

impl Generation {
    fn open(
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

    fn table(&self, table: Table) -> &Keyspace {
        &self.tables[place_of(table)]
    }

    /// All of them, the one of the long keys last.
    fn keyspaces(&self) -> impl Iterator<Item = &Keyspace> {
        self.tables.iter().chain([&self.overflow])
    }

    /// Rows are kept in the buffers that they came in: apply lays out all rows of a put in one
    /// allocation of their own, which the tables then share.
    fn write(&self, shared: &Shared, batch: Batch) -> Result<(), Fault> {
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
    fn count_removed(&self, place: usize, keyspace: &Keyspace, key: &[u8]) -> ::fjall::Result<()> {
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
fn place_of(table: Table) -> usize {
    let place = Table::ALL.iter().position(|it| *it == table);
    place.expect("every table is listed")
}

fn bytes_of(batch: &Batch) -> u64 {
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

impl Shared {
    fn active(&self) -> Arc<Generation> {
        self.active
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn snapshot(&self) -> FjallSnapshot {
        let active = self.active.read().unwrap_or_else(PoisonError::into_inner);
        FjallSnapshot {
            generation: active.clone(),
            snapshot: Arc::new(self.database.snapshot()),
        }
    }

    /// Puts the generation in force and drops the one before.
    fn switch(&self, number: u64, generation: Generation) -> Result<(), Fault> {
        let format = match self.has_long_keys.load(Ordering::Relaxed) {
            true => FORMAT_LONG_KEYS,
            false => FORMAT,
        };
        let switched = make_active(&self.database, &self.root, format, number);
        switched.map_err(|error| fault("switch to a new state", &error))?;
        let before = {
            let mut active = self.active.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *active, Arc::new(generation))
        };
        // What is removed now must not be missed at the next start.
        self.mark()
            .map_err(|error| fault("mark a new state", &error))?;
        self.delete(&before)
            .map_err(|error| fault("remove the state before", &error))
    }

    fn mark(&self) -> ::fjall::Result<()> {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        self.unmarked.store(0, Ordering::Relaxed);
        marks.advance(&self.database, &self.root, &self.active())
    }

    /// Marks now and then what nobody has asked to be made durable.
    fn mark_after(self: &Arc<Shared>, bytes: u64) {
        let before = self.unmarked.fetch_add(bytes, Ordering::Relaxed);
        if before < MARK_AFTER_BYTES && before + bytes >= MARK_AFTER_BYTES {
            let shared = self.clone();
            // If it fails, so does the next write.
            self.blocking.order(move || drop(shared.mark()));
        }
    }

    fn delete(&self, generation: &Generation) -> ::fjall::Result<()> {
        // Files go when the last snapshot of the generation goes.
        generation.is_deleted.store(true, Ordering::Relaxed);
        let deleted = generation.keyspaces().try_for_each(|keyspace| {
            let buffered = keyspace.tree.active_memtable().size();
            self.buffers_gone.fetch_add(buffered, Ordering::Relaxed);
            self.database.delete_keyspace(keyspace.clone())
        });
        reclaim::close_list(self);
        deleted
    }
}

impl View for FjallStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        let generation = self.shared.active();
        let row = match long::is_long(key) {
            false => generation.table(table).get(key),
            true => generation.overflow.get(long::row_key(table, key)),
        };
        row.map(|row| row.map(Bytes::from))
            .map_err(|error| read_fault(table, &error))
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>, direction: Direction) -> Rows<'a> {
        self.shared.snapshot().into_rows(table, bounds, direction)
    }
}

impl Store for FjallStore {
    type Snapshot = FjallSnapshot;
    type Stage = FjallStage;

    fn snapshot(&self) -> Result<FjallSnapshot, Fault> {
        Ok(self.shared.snapshot())
    }

    /// Writes on the calling thread: it takes microseconds, but may wait for the disk when
    /// writing files cannot keep up.
    async fn write(&self, batch: Batch) -> Result<(), Fault> {
        let bytes = bytes_of(&batch);
        self.shared.active().write(&self.shared, batch)?;
        self.shared.mark_after(bytes);
        Ok(())
    }

    async fn write_unless_replaced(
        &self,
        basis: &FjallSnapshot,
        batch: Batch,
    ) -> Result<bool, Fault> {
        // Held over the write: a replacement waits for it.
        let active = self.shared.active.read();
        let active = active.unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&active, &basis.generation) {
            return Ok(false);
        }
        active.write(&self.shared, batch)?;
        Ok(true)
    }

    async fn persist(&self) -> Result<(), Fault> {
        let shared = self.shared.clone();
        let done = self.shared.blocking.run(move || shared.mark()).await?;
        done.map_err(|error| fault("sync the journal", &error))
    }

    async fn stage(&self) -> Result<FjallStage, Fault> {
        let shared = self.shared.clone();
        let create = move || {
            let number = {
                let mut next = shared.next.lock().unwrap_or_else(PoisonError::into_inner);
                *next += 1;
                *next - 1
            };
            let generation = Generation::open(&shared.database, number, &shared.options)
                .and_then(|it| pass_sequence(&shared.database, &shared.root, 1).map(|()| it))
                .map_err(|error| fault("begin a new state", &error))?;
            Ok(FjallStage {
                shared,
                number,
                generation: Some(generation),
            })
        };
        self.shared.blocking.run(create).await?
    }

    async fn reclaim(&self, reclaim: Reclaim) -> Result<(), Fault> {
        let shared = self.shared.clone();
        let work = move || reclaim::run(&shared, reclaim);
        let done: ::fjall::Result<()> = self.shared.reclaiming.run(work).await?;
        done.map_err(|error| fault("give back space", &error))
    }

    fn size(&self) -> Size {
        reclaim::size(&self.shared)
    }
}

/// A point in time of the state.
#[derive(Clone)]
pub struct FjallSnapshot {
    generation: Arc<Generation>,
    /// Shared, because a clone of its own would be one more that fjall keeps track of.
    snapshot: Arc<Snapshot>,
}

impl FjallSnapshot {
    fn into_rows(self, table: Table, bounds: KeyBounds<'_>, direction: Direction) -> Rows<'static> {
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

/// A new state in a generation of its own.
pub struct FjallStage {
    shared: Arc<Shared>,
    number: u64,
    /// Taken when it is put in force.
    generation: Option<Generation>,
}

impl Stage for FjallStage {
    async fn write(&mut self, batch: Batch) -> Result<(), Fault> {
        let generation = self.generation.as_ref().expect("only commit takes it");
        generation.write(&self.shared, batch)
    }

    async fn commit(mut self) -> Result<(), Fault> {
        let generation = self.generation.take().expect("only commit takes it");
        let (shared, number) = (self.shared.clone(), self.number);
        self.shared
            .blocking
            .run(move || shared.switch(number, generation))
            .await?
    }
}

impl Drop for FjallStage {
    fn drop(&mut self) {
        if let Some(generation) = self.generation.take()
            && let Err(error) = self.shared.delete(&generation)
        {
            tracing::warn!(%error, "an unfinished state was not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::WHOLE_KEY_BYTES_MAX;
    use futures::executor::block_on;

    /// A build that knows no long keys opens the store until there is one, and then refuses.
    #[test]
    fn the_format_changes_with_the_first_long_key() {
        let folder = tempfile::tempdir().unwrap();
        let open = || FjallStore::open(folder.path(), StoreOptions::default()).unwrap();
        let format = |store: &FjallStore| read_number(&store.shared.root, FORMAT_KEY).unwrap();
        let put = |key: Vec<u8>| {
            let mut batch = Batch::default();
            batch.put(Table::Current, key, "value");
            batch
        };
        let store = open();
        block_on(store.write(put(vec![0; WHOLE_KEY_BYTES_MAX]))).unwrap();
        assert_eq!(format(&store), Some(2));
        let mut stage = block_on(store.stage()).unwrap();
        block_on(stage.write(put(vec![0; WHOLE_KEY_BYTES_MAX + 1]))).unwrap();
        block_on(stage.commit()).unwrap();
        assert_eq!(format(&store), Some(3));
        drop(store);
        let store = open();
        block_on(block_on(store.stage()).unwrap().commit()).unwrap();
        assert_eq!(format(&store), Some(3));
    }
}
