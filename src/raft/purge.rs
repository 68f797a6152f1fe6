//! Snapshots that are being sent defer the purge of the log: shared by those who send them and the
//! state machine, which is asked to build the next.

use detcd_core::api::Millis;
use detcd_core::membership::PurgeDeferral;
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Clone)]
pub(crate) struct Purge(Arc<Mutex<PurgeDeferral>>);

impl Purge {
    pub(crate) fn new(log_bytes_min: u64) -> Purge {
        Purge(Arc::new(Mutex::new(PurgeDeferral::new(log_bytes_min))))
    }

    /// A snapshot is being sent, until the guard is dropped.
    pub(crate) fn begin(&self) -> SnapshotSending {
        self.state().begin();
        SnapshotSending {
            purge: self.clone(),
            begun: now(),
        }
    }

    /// Whether a snapshot that could wait should be built now.
    pub(crate) fn may_purge(&self, log_bytes: u64, state_bytes: u64) -> bool {
        self.state().may_purge(now(), log_bytes, state_bytes)
    }

    fn state(&self) -> MutexGuard<'_, PurgeDeferral> {
        self.0.lock().expect("nothing panics while it holds it")
    }
}

pub(crate) struct SnapshotSending {
    purge: Purge,
    begun: Millis,
}

impl Drop for SnapshotSending {
    fn drop(&mut self) {
        self.purge.state().end(self.begun, now());
    }
}

fn now() -> Millis {
    Millis(detcd_rt::now_ms())
}
