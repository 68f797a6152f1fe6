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

mod generation;
mod long;
mod marks;
mod options;
mod reclaim;
mod root;
mod snapshot;
mod stage;

pub use options::StoreOptions;
pub use snapshot::FjallSnapshot;
pub use stage::FjallStage;

use super::blocking::Blocking;
use super::error::{self, OpenError, fault, read_fault};
use super::mark::Mark;
use super::{Reclaim, Size, Store};
use ::fjall::{AbstractTree, Database, Keyspace};
use bytes::Bytes;
use detcd_core::view::{Batch, Direction, Fault, KeyBounds, Rows, Table, View};
use generation::{Generation, bytes_of};
use marks::{MARK_KEY, Marks};
use options::table_options;
use root::{
    FIRST_GENERATION, FORMAT, FORMAT_KEY, FORMAT_LONG_KEYS, GENERATION_KEY, ROOT, SEQUENCE_MARGIN,
    make_active, pass_sequence, read_number, remove_others,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Bytes of rows after which the journal is synced and marked without being asked to.
const MARK_AFTER_BYTES: u64 = 16 * 1024 * 1024;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Stage as _, WHOLE_KEY_BYTES_MAX};
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
