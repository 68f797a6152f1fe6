//! Tables in memory with the crash semantics of a journaled store: the simulated side of
//! `detcd_storage::store`.
//!
//! The tables are persistent maps, so a snapshot is a clone. What takes back each batch since the
//! last persist is kept: a crash goes back to the border of one of them. (Kept states would do, too,
//! but then every write copies its path through the map.)

pub mod tables;

pub use tables::Tables;

use crate::disk::Loss;
use crate::disk::defects::{DiskDefects, Operation, Part};
use crate::disk::trap::{Point, Side};
use crate::rng::Rng;
use crate::time;
use crate::trace;
use bytes::Bytes;
use detcd_core::view::{Batch, Direction, Fault, KeyBounds, Rows, Table, View, Write};
use detcd_storage::store::{Reclaim, Size, Stage, Store};
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tables::{OwnedScan, Undo, slot};

/// The durable side of a simulated store; survives the processes of its machine.
#[derive(Clone)]
pub struct StoreImage {
    state: Arc<Mutex<State>>,
    defects: DiskDefects,
}

struct State {
    life: u64,
    current: Tables,
    /// What takes back the batches since the last persisted state, the oldest first.
    undos: VecDeque<Undo>,
    /// How many batches were ever left behind by a persist, so that one under way keeps its place.
    retired: u64,
    persist_ms: RangeInclusive<u64>,
    rng: Rng,
}

impl StoreImage {
    pub fn new(rng: Rng, persist_ms: RangeInclusive<u64>) -> StoreImage {
        StoreImage {
            defects: DiskDefects::new(rng.fork("medium")),
            state: Arc::new(Mutex::new(State {
                life: 0,
                current: Tables::default(),
                undos: VecDeque::new(),
                retired: 0,
                persist_ms,
                rng,
            })),
        }
    }

    /// This store, on the disk of its machine's disk.
    pub fn on(self, defects: &DiskDefects) -> StoreImage {
        let defects = defects.clone();
        StoreImage { defects, ..self }
    }

    /// The dead machine's store is empty from now on.
    pub fn wipe(&self) {
        self.restore(&Tables::default());
    }

    /// The dead machine's store goes back to what it was once.
    pub fn restore(&self, tables: &Tables) {
        let mut state = self.lock();
        state.life += 1;
        state.retired += state.undos.len() as u64;
        state.undos.clear();
        state.current = tables.clone();
    }

    /// Some row can be read no more. False if there is none.
    pub fn rot(&self) -> bool {
        let mut rng = self.defects.draws();
        let mut state = self.lock();
        let rotten = state.current.rot(&mut rng);
        let row = state.current.rotten.clone();
        for undo in &mut state.undos {
            undo.rotten = row.clone();
        }
        rotten
    }

    /// The store as the machine's next process sees it.
    pub fn mount(&self) -> SimStore {
        let mut state = self.lock();
        state.life += 1;
        SimStore {
            store_image: self.clone(),
            life: state.life,
        }
    }

    /// The process is dead: its handles fail from now on, and the state goes back as told.
    /// Gives the number of batches that were lost.
    pub fn crash(&self, loss: Loss) -> usize {
        let mut state = self.lock();
        state.life += 1;
        let batches = state.undos.len();
        let kept = match loss {
            // Only the process is gone. What it wrote is there, and as durable as it was.
            Loss::KeepAll => {
                drop(state);
                trace::event("store.crash", format_args!("{loss:?} lost 0"));
                return 0;
            }
            Loss::LoseUnsynced => 0,
            Loss::Torn => state.rng.range(0..=batches as u64) as usize,
        };
        let lost = state.undos.split_off(kept);
        for undo in lost.into_iter().rev() {
            state.current.undo(undo);
        }
        state.retired += batches as u64;
        state.undos.clear();
        drop(state);
        trace::event(
            "store.crash",
            format_args!("{loss:?} lost {}", batches - kept),
        );
        batches - kept
    }

    /// The latest state, whoever may use it.
    pub fn tables(&self) -> Tables {
        self.lock().current.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }
}

/// The store of one life of a node.
pub struct SimStore {
    store_image: StoreImage,
    life: u64,
}

impl SimStore {
    fn state(&self) -> Result<MutexGuard<'_, State>, Fault> {
        let state = self.store_image.lock();
        if state.life == self.life {
            Ok(state)
        } else {
            Err(Fault(
                "the process that opened this store is dead".to_owned(),
            ))
        }
    }

    async fn persist_time(&self) -> Result<(), Fault> {
        let duration = {
            let mut state = self.state()?;
            let range = state.persist_ms.clone();
            Duration::from_millis(state.rng.range(range))
        };
        time::sleep(duration).await;
        Ok(())
    }

    /// What the disk takes to write a batch.
    async fn take_time(&self, batch: &Batch) {
        let rows = batch.writes.iter();
        let bytes = rows.map(|row| row.key.len() + row.value.as_ref().map_or(0, Bytes::len));
        self.store_image
            .defects
            .work(Operation::Grow, bytes.sum())
            .await;
    }

    async fn check(&self, operation: Operation) -> Result<(), Fault> {
        self.store_image.defects.wait(Part::State).await;
        let checked = self.store_image.defects.check(Part::State, operation);
        checked.map_err(|error| Fault(error.to_string()))
    }

    /// A state that cannot be taken in is sent again, for as long as the process goes on with what it
    /// has.
    async fn check_staged(&self) -> Result<(), Fault> {
        let defects = &self.store_image.defects;
        defects.wait(Part::State).await;
        let checked = defects.check_room(Part::State, Operation::Grow);
        checked.map_err(|error| Fault(error.to_string()))
    }

    /// The points that a batch is.
    fn points(batch: &Batch) -> impl Iterator<Item = Point> + use<> {
        let has = |wanted: &[u8]| {
            let mut writes = batch.writes.iter();
            writes.any(|write| write.table == Table::Meta && write.key == wanted)
        };
        let apply = has(b"raft/applied").then_some(Point::Apply);
        let membership = has(b"raft/membership").then_some(Point::Membership);
        apply.into_iter().chain(membership)
    }

    async fn pass(&self, side: Side, points: impl Iterator<Item = Point>) {
        for point in points {
            self.store_image.defects.traps().pass(point, side).await;
        }
    }

    fn replace(&self, tables: Tables) -> Result<(), Fault> {
        let mut state = self.state()?;
        state.retired += state.undos.len() as u64;
        state.undos.clear();
        let generation = state.current.generation + 1;
        state.current = Tables {
            generation,
            ..tables
        };
        trace::event(
            "store.replaced",
            format_args!("{:x}", state.current.replicated_hash()),
        );
        Ok(())
    }

    fn write_now(&self, batch: Batch) -> Result<(), Fault> {
        let mut state = self.state()?;
        let mut hash = 0;
        for Write { table, key, value } in &batch.writes {
            let tag = u64::from(*table as u8) * 2 + u64::from(value.is_some());
            hash = trace::mix(trace::mix_bytes(hash, key), tag);
            hash = trace::mix_bytes(hash, value.as_deref().unwrap_or_default());
        }
        trace::event(
            "store.write",
            format_args!("{} {hash:x}", batch.writes.len()),
        );
        let undo = state.current.apply_all(batch);
        state.undos.push_back(undo);
        Ok(())
    }
}

impl View for SimStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.state()?.current.get(table, key)
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>, direction: Direction) -> Rows<'a> {
        let (rows, rotten) = match self.state() {
            Ok(state) => {
                let rotten = state.current.rotten.clone();
                let rotten = rotten.filter(|(its, _)| *its == table);
                (state.current.tables[slot(table)].clone(), rotten)
            }
            Err(fault) => return Box::new(std::iter::once(Err(fault))),
        };
        let scan = OwnedScan::new(rows, bounds, direction);
        Box::new(scan.map(move |row| match (row, &rotten) {
            (Ok((key, _)), Some((table, bad))) if key == *bad => Err(tables::rotten(*table)),
            (row, _) => row,
        }))
    }
}

impl Store for SimStore {
    type Snapshot = Tables;
    type Stage = SimReplacement;

    fn snapshot(&self) -> Result<Tables, Fault> {
        Ok(self.state()?.current.clone())
    }

    async fn write(&self, batch: Batch) -> Result<(), Fault> {
        let points: Vec<Point> = SimStore::points(&batch).collect();
        self.pass(Side::Before, points.iter().copied()).await;
        // A journal grows with every batch.
        self.take_time(&batch).await;
        self.check(Operation::Grow).await?;
        self.write_now(batch)?;
        self.pass(Side::After, points.into_iter()).await;
        Ok(())
    }

    async fn write_unless_replaced(&self, basis: &Tables, batch: Batch) -> Result<bool, Fault> {
        self.check(Operation::Grow).await?;
        if self.state()?.current.generation != basis.generation {
            return Ok(false);
        }
        self.write_now(batch)?;
        Ok(true)
    }

    async fn persist(&self) -> Result<(), Fault> {
        // Only what was written before the persist began is durable when it ends.
        let points = || std::iter::once(Point::Persist);
        self.pass(Side::Before, points()).await;
        let mark = {
            let state = self.state()?;
            state.retired + state.undos.len() as u64
        };
        self.persist_time().await?;
        self.check(Operation::Sync).await?;
        {
            let mut state = self.state()?;
            let count = mark.saturating_sub(state.retired) as usize;
            state.undos.drain(..count);
            state.retired += count as u64;
            trace::event("store.persist", format_args!("{count}"));
        }
        self.pass(Side::After, points()).await;
        Ok(())
    }

    async fn stage(&self) -> Result<SimReplacement, Fault> {
        drop(self.state()?);
        Ok(SimReplacement {
            store: SimStore {
                store_image: self.store_image.clone(),
                life: self.life,
            },
            tables: Tables::default(),
        })
    }

    /// What is deleted takes no space here.
    async fn reclaim(&self, _: Reclaim) -> Result<(), Fault> {
        Ok(())
    }

    fn size(&self) -> Size {
        let bytes = self.store_image.lock().current.bytes;
        Size {
            total_bytes: bytes,
            in_use_bytes: bytes,
        }
    }
}

/// A whole state under construction.
pub struct SimReplacement {
    store: SimStore,
    tables: Tables,
}

impl Stage for SimReplacement {
    async fn write(&mut self, batch: Batch) -> Result<(), Fault> {
        drop(self.store.state()?);
        self.store.take_time(&batch).await;
        self.store.check_staged().await?;
        self.tables.apply_all(batch);
        Ok(())
    }

    async fn commit(self) -> Result<(), Fault> {
        let points = || std::iter::once(Point::SnapshotInstall);
        self.store.pass(Side::Before, points()).await;
        self.store.persist_time().await?;
        self.store.check(Operation::Sync).await?;
        self.store.check(Operation::Install).await?;
        self.store.replace(self.tables)?;
        self.store.pass(Side::After, points()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use std::ops::Bound;

    fn store_image() -> StoreImage {
        StoreImage::new(Rng::of(1, "store"), 0..=0)
    }

    fn put(store: &SimStore, key: &'static str, value: &'static str) {
        let mut batch = Batch::default();
        batch.put(Table::Current, key, value);
        block_on(store.write(batch)).expect("the store works");
    }

    fn keys(view: &impl View) -> Vec<String> {
        view.scan(
            Table::Current,
            (Bound::Unbounded, Bound::Unbounded),
            Direction::Forward,
        )
        .map(|row| String::from_utf8(row.expect("no fault").0.to_vec()).expect("text"))
        .collect()
    }

    #[test]
    fn a_crash_goes_back_to_a_batch_border_since_the_last_persist() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let store_image = StoreImage::new(Rng::of(seed, "store"), 0..=0);
            let store = store_image.mount();
            put(&store, "a", "1");
            put(&store, "b", "1");
            block_on(store.persist()).expect("the store works");
            put(&store, "c", "1");
            put(&store, "d", "1");
            store_image.crash(Loss::Torn);
            seen.insert(keys(&store_image.mount()));
            assert!(block_on(store.persist()).is_err(), "the process is dead");
        }
        let names = |keys: &[&str]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
        let expected = [
            names(&["a", "b"]),
            names(&["a", "b", "c"]),
            names(&["a", "b", "c", "d"]),
        ];
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn lost_and_kept_batches_are_as_told() {
        for (loss, expected) in [(Loss::KeepAll, 2), (Loss::LoseUnsynced, 1)] {
            let store_image = store_image();
            let store = store_image.mount();
            put(&store, "a", "1");
            block_on(store.persist()).expect("the store works");
            put(&store, "b", "1");
            store_image.crash(loss);
            assert_eq!(keys(&store_image.mount()).len(), expected, "{loss:?}");
        }
    }

    #[test]
    fn a_replacement_shows_only_when_committed() {
        let store_image = store_image();
        let store = store_image.mount();
        put(&store, "a", "1");
        let before = store.snapshot().expect("the store works");
        block_on(async {
            let mut batch = Batch::default();
            batch.put(Table::Current, "z", "1");
            let mut dropped = store.stage().await.expect("staged");
            dropped.write(batch.clone()).await.expect("written");
            drop(dropped);
            assert_eq!(keys(&store), ["a"]);
            let mut replacement = store.stage().await.expect("staged");
            replacement.write(batch).await.expect("written");
            replacement.commit().await.expect("committed");
        });
        assert_eq!(
            (keys(&store), keys(&before)),
            (vec!["z".to_owned()], vec!["a".to_owned()])
        );
        store_image.crash(Loss::LoseUnsynced);
        assert_eq!(keys(&store_image.mount()), ["z"]);
    }

    #[test]
    fn the_replicated_hash_depends_on_rows_and_not_on_their_history() {
        let (first, second) = (store_image(), store_image());
        let (one, two) = (first.mount(), second.mount());
        put(&one, "a", "1");
        put(&one, "b", "2");
        put(&two, "b", "0");
        put(&two, "b", "2");
        assert_ne!(
            first.tables().replicated_hash(),
            second.tables().replicated_hash()
        );
        put(&two, "a", "1");
        assert_eq!(
            first.tables().replicated_hash(),
            second.tables().replicated_hash()
        );
        let mut batch = Batch::default();
        batch.put(Table::Meta, "own", "row");
        batch.delete(Table::Current, "nothing");
        block_on(two.write(batch)).expect("the store works");
        assert_eq!(
            first.tables().replicated_hash(),
            second.tables().replicated_hash()
        );
    }

    #[test]
    fn scans_walk_both_ways_within_their_bounds() {
        let store_image = store_image();
        let store = store_image.mount();
        ["a", "b", "c"]
            .into_iter()
            .for_each(|key| put(&store, key, "1"));
        let scan = |bounds: KeyBounds<'_>, direction| -> Vec<Bytes> {
            let rows = store.scan(Table::Current, bounds, direction);
            let through_store: Vec<Bytes> = rows.map(|row| row.expect("no fault").0).collect();
            let tables = store_image.tables();
            let rows = tables.scan(Table::Current, bounds, direction);
            assert_eq!(
                through_store,
                rows.map(|row| row.expect("no fault").0).collect::<Vec<_>>()
            );
            through_store
        };
        let half_open = (Bound::Included(&b"a"[..]), Bound::Excluded(&b"c"[..]));
        assert_eq!(scan(half_open, Direction::Forward), ["a", "b"]);
        assert_eq!(scan(half_open, Direction::Reverse), ["b", "a"]);
        let inverted = (Bound::Included(&b"c"[..]), Bound::Excluded(&b"a"[..]));
        assert!(scan(inverted, Direction::Forward).is_empty());
        let empty = (Bound::Excluded(&b"b"[..]), Bound::Excluded(&b"b"[..]));
        assert!(scan(empty, Direction::Reverse).is_empty());
        assert_eq!(
            scan(
                (Bound::Excluded(b"a"), Bound::Unbounded),
                Direction::Forward
            ),
            ["b", "c"]
        );
    }
}
