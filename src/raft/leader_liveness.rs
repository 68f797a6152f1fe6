//! Which leader this member has heard from, shared by those who hear and those who ask.

use crate::observe::last_quorum_acked;
use crate::types::Types;
use detcd_core::api::{MemberId, Millis};
use detcd_core::membership::{EngineLeader, LeaderLiveness};
use openraft::{RaftMetrics, ServerState};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

#[derive(Clone)]
pub(crate) struct Liveness(Arc<Mutex<LeaderLiveness>>);

impl Liveness {
    pub(crate) fn new(election: Duration) -> Liveness {
        let election = Millis(election.as_millis() as u64);
        Liveness(Arc::new(Mutex::new(LeaderLiveness::new(election))))
    }

    /// `leader` has sent something, and no newer one is known.
    pub(crate) fn heard_from(&self, leader: u64) {
        let now = Millis(detcd_rt::now_ms());
        self.state().heard_from(now, MemberId(leader));
    }

    /// The leader, if it was heard from lately.
    pub(crate) fn leader(&self, metrics: &RaftMetrics<Types>) -> Option<MemberId> {
        let engine = EngineLeader {
            leader: metrics.current_leader.map(MemberId),
            is_leader: metrics.state == ServerState::Leader,
            quorum_acked: last_quorum_acked(metrics),
        };
        self.state().leader(Millis(detcd_rt::now_ms()), &engine)
    }

    fn state(&self) -> MutexGuard<'_, LeaderLiveness> {
        self.0.lock().expect("nothing panics while it holds it")
    }
}
