//! Named points in what a member does to its disk and its store, at which it can be killed.
//!
//! The points are seen from below the seams: no code of the product knows of them.

use std::sync::{Mutex, MutexGuard};

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// The vote is written; after: it is synced.
    VoteSave,
    /// A frame is written to the log's files.
    Append,
    /// The log's files are synced.
    Sync,
    /// A batch of applied entries is written to the store.
    Apply,
    /// A batch with a change of the membership is written to the store.
    Membership,
    /// The store is persisted, for a snapshot or before a purge.
    Persist,
    /// A snapshot that was received replaces the state.
    SnapshotInstall,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Before,
    After,
}

/// The trap of one machine.
#[derive(Default)]
pub struct Traps {
    armed: Mutex<Option<Armed>>,
}

struct Armed {
    point: Point,
    side: Side,
    /// How often the point is passed unharmed.
    skip: u64,
    kill: Box<dyn FnOnce() + Send>,
}

impl Traps {
    /// Calls `kill`, which must end the process, when it comes to the point after having passed
    /// it `skip` times.
    pub fn arm(&self, point: Point, side: Side, skip: u64, kill: impl FnOnce() + Send + 'static) {
        *self.lock() = Some(Armed {
            point,
            side,
            skip,
            kill: Box::new(kill),
        });
    }

    pub fn disarm(&self) {
        *self.lock() = None;
    }

    /// The process comes to this point; if that is its end, this never returns.
    pub(crate) async fn pass(&self, point: Point, side: Side) {
        let kill = {
            let mut armed = self.lock();
            match &mut *armed {
                Some(trap) if (trap.point, trap.side) == (point, side) => {
                    if trap.skip > 0 {
                        trap.skip -= 1;
                        return;
                    }
                }
                _ => return,
            }
            armed.take().expect("it was just seen").kill
        };
        kill();
        // Whoever was killed does nothing more; its tasks are dropped when they are next looked at.
        std::future::pending::<()>().await;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Armed>> {
        self.armed.lock().expect("no holder of the trap panics")
    }
}
