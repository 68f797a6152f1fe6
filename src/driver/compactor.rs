//! Removes compacted rows in small steps, beside the traffic.
//!
//! What a compaction forbids to read is decided at apply; here only the rows go. They are rows
//! that apply never writes again, so no order between the two is needed.

use crate::shared::Shared;
use crate::stats::Stats;
use detcd_core::kv::compaction::{self, Cursor};
use detcd_core::limits::COMPACTION_BATCH;
use detcd_core::quota;
use detcd_core::view::{Fault, Table, Write};
use detcd_rt::Instant;
use detcd_rt::buggify::{Place, maybe_wait, takes_rare_path};
use detcd_storage::store::{Reclaim, Store};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long whoever waits for a compaction or a defragmentation also waits until its space is given back: of a large
/// state that takes longer, and what is in use is known before.
pub(crate) const SPACE_WAIT: Duration = Duration::from_secs(1);

/// Tells the compactor task what to do.
pub(crate) struct Compactor {
    tasks: mpsc::UnboundedSender<Task>,
}

enum Task {
    Compact(i64),
    Defragment(oneshot::Sender<()>),
}

/// What waits to be done, put together.
#[derive(Default)]
struct Waiting {
    revision: Option<i64>,
    defragments: Vec<oneshot::Sender<()>>,
}

impl Waiting {
    fn add(&mut self, task: Task) {
        match task {
            Task::Compact(revision) => self.revision = self.revision.max(Some(revision)),
            Task::Defragment(done) => self.defragments.push(done),
        }
    }
}

impl Compactor {
    /// Remove what is compacted at `revision`.
    pub fn compact(&self, revision: i64) {
        // The task outlives the loop; it ends when this is dropped.
        let _ = self.tasks.send(Task::Compact(revision));
    }

    /// Give back all the space that can be given back.
    pub fn defragment(&self, done: oneshot::Sender<()>) {
        let _ = self.tasks.send(Task::Defragment(done));
    }

    /// Starts the task, which first finishes what an earlier run left undone.
    pub fn start<S: Store>(store: Arc<S>, shared: Arc<Shared>, compact_revision: i64) -> Compactor {
        let (tasks, mut queue) = mpsc::unbounded_channel();
        let compactor = Compactor { tasks };
        compactor.compact(compact_revision);
        detcd_rt::spawn(async move {
            while let Some(first) = queue.recv().await {
                let mut waiting = Waiting::default();
                waiting.add(first);
                while let Ok(later) = queue.try_recv() {
                    waiting.add(later);
                }
                if !waiting.defragments.is_empty() {
                    defragment(&*store, &shared).await;
                    // Who does not wait any more needs no word.
                    waiting
                        .defragments
                        .into_iter()
                        .for_each(|done| _ = done.send(()));
                }
                let Some(revision) = waiting.revision else {
                    continue;
                };
                match remove(&*store, revision, &shared.stats).await {
                    Ok(Removal::Finished) => {}
                    // Another state came from the leader; what of it is compacted is told anew.
                    Ok(Removal::Replaced) => continue,
                    Err(fault) => {
                        shared.halt(&fault.to_string());
                        return;
                    }
                }
                let mut space = pin!(give_back(&*store, &shared));
                let done = detcd_rt::timeout(SPACE_WAIT, &mut space).await.is_ok();
                shared.compacted.send_if_modified(|done| {
                    let moved = revision > *done;
                    *done = revision.max(*done);
                    moved
                });
                if !done {
                    space.await;
                }
            }
        });
        compactor
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Removal {
    Finished,
    /// The state that was worked on is not in force any more.
    Replaced,
}

/// What was removed must be seen to be gone: in what the store takes, and in what reads walk over.
async fn give_back<S: Store>(store: &S, shared: &Shared) {
    let before = store.size();
    let quota = shared.settings.quota_bytes;
    let reclaim = match quota.is_some_and(|quota| quota::is_scarce(quota, before.total_bytes)) {
        true => Reclaim::All,
        false => Reclaim::Worthwhile,
    };
    reclaim_and_tell(store, shared, reclaim).await;
}

async fn defragment<S: Store>(store: &S, shared: &Shared) {
    reclaim_and_tell(store, shared, Reclaim::All).await;
}

async fn reclaim_and_tell<S: Store>(store: &S, shared: &Shared, reclaim: Reclaim) {
    let before = store.size();
    match refresh_and_reclaim(store, shared, reclaim).await {
        Ok(()) if reclaim == Reclaim::All => tracing::info!(
            before = before.total_bytes,
            after = store.size().total_bytes,
            "gave back the space of removed rows"
        ),
        Ok(()) => {}
        // Nothing is lost by it; a store that cannot be written says so to the next write.
        Err(fault) => tracing::warn!(error = %fault, "cannot give back the space of removed rows"),
    }
}

/// The view that is read from shows what was removed: it is renewed before, so that this can go,
/// and afterwards, so that reads do not walk over it and what it kept is left over.
async fn refresh_and_reclaim<S: Store>(
    store: &S,
    shared: &Shared,
    reclaim: Reclaim,
) -> Result<(), Fault> {
    shared.engine.refresh()?;
    store.reclaim(reclaim).await?;
    shared.engine.refresh()?;
    store.reclaim(Reclaim::Leftovers).await
}

async fn remove<S: Store>(store: &S, revision: i64, stats: &Stats) -> Result<Removal, Fault> {
    let begun = Instant::now();
    let mut cursor = Cursor::default();
    // The cursor is a place in the state that the last step has looked at: the step after it must
    // not go on in another one, which may be there by the time that it looks.
    let mut basis = store.snapshot()?;
    loop {
        let step_begun = Instant::now();
        let snapshot = store.snapshot()?;
        let versions = match takes_rare_path(Place::CompactSingly) {
            true => 1,
            false => COMPACTION_BATCH,
        };
        // It reads many rows: not on a thread that serves others.
        let step = detcd_rt::spawn_blocking(move || {
            let step = compaction::step(&snapshot, cursor, revision, versions);
            step.map(|step| (step, snapshot))
        });
        let Ok(step) = step.await else {
            // The runtime is shutting down.
            return Ok(Removal::Replaced);
        };
        let (step, snapshot) = step?;
        let events = |write: &&Write| write.table == Table::Events;
        let rows = step.batch.writes.iter().filter(events).count() as u64;
        if !store.write_unless_replaced(&basis, step.batch).await? {
            return Ok(Removal::Replaced);
        }
        basis = snapshot;
        stats.compacted_rows.add(rows);
        let millis = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
        stats.compaction_steps.observe(millis(step_begun));
        match step.next {
            Some(next) => cursor = next,
            None => {
                stats.compactions.observe(millis(begun));
                stats.compacted_at.set(detcd_rt::wall_unix_ms() / 1000);
                return Ok(Removal::Finished);
            }
        }
        detcd_rt::yield_now().await;
        maybe_wait(Place::CompactionStep).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use detcd_core::api::{KeyValue, Revision};
    use detcd_core::codec::{PutRows, VERSION_PUT, version_key};
    use detcd_core::view::Batch;
    use detcd_storage::store::{FjallStore, Stage, StoreOptions};
    use futures::poll;

    /// One key with this many versions.
    fn history(count: i64) -> Batch {
        let mut batch = Batch::default();
        for version in 1..=count {
            let kv = KeyValue {
                key: Bytes::from_static(b"k"),
                create_revision: 1,
                mod_revision: version,
                version,
                ..KeyValue::default()
            };
            let rows = PutRows::new(&kv, 0);
            let at = Revision {
                main: version,
                sub: 0,
            };
            batch.put(Table::Events, rows.event_key, rows.event);
            batch.put(Table::Versions, version_key(b"k", at), VERSION_PUT);
        }
        batch
    }

    /// A snapshot from the leader may come between two steps. The place that the first one came to
    /// means nothing in the new state: rows before it would be taken for removed, and stay.
    #[test]
    fn a_removal_ends_when_another_state_comes_between_its_steps() {
        let folder = tempfile::tempdir().unwrap();
        let store = FjallStore::open(folder.path(), StoreOptions::default()).unwrap();
        let count = 2 * COMPACTION_BATCH as i64;
        let stats = Stats::default();
        detcd_rt::block_on(async {
            store.write(history(count)).await.unwrap();
            let mut removal = std::pin::pin!(remove(&store, count, &stats));
            while stats.compacted_rows.get() == 0 {
                assert!(poll!(removal.as_mut()).is_pending(), "one step of two");
                detcd_rt::yield_now().await;
            }
            let mut stage = store.stage().await.unwrap();
            stage.write(history(count)).await.unwrap();
            stage.commit().await.unwrap();
            assert_eq!(removal.await, Ok(Removal::Replaced));
        });
    }
}
