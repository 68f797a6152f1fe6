//! Snapshots that are being sent, and members that are away, defer the purge of the log: shared by
//! those who send snapshots and the state machine, which is asked to build the next.

use detcd_core::api::Millis;
use detcd_core::membership::{LogSize, PurgeDeferral};
use detcd_core::status::Roster;
use detcd_peer::Transport;
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Clone)]
pub(crate) struct Purge {
    deferral: Arc<Mutex<PurgeDeferral>>,
    transport: Arc<dyn Transport>,
}

impl Purge {
    pub(crate) fn new(deferral: PurgeDeferral, transport: Arc<dyn Transport>) -> Purge {
        let deferral = Arc::new(Mutex::new(deferral));
        Purge {
            deferral,
            transport,
        }
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
    pub(crate) fn may_purge(&self, log: LogSize, state_bytes: u64, roster: &Roster) -> bool {
        let others = roster.members.iter().map(|member| member.id);
        let mut others = others.filter(|id| *id != roster.own_id);
        let is_anyone_away = others.any(|id| !self.transport.is_connected(id.0));
        self.state()
            .may_purge(now(), log, state_bytes, is_anyone_away)
    }

    fn state(&self) -> MutexGuard<'_, PurgeDeferral> {
        self.deferral
            .lock()
            .expect("nothing panics while it holds it")
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
