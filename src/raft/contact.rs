//! Whether this member is in contact with its leader.
//!
//! To the engine a leader leads until another one is elected, however long it has been silent, and
//! a leader leads though nobody follows any more. Clients have to be told better: so a leader is
//! shown as one only as long as it was heard from lately, by this member or, if this member leads,
//! in the form of a quorum's answers. Nothing that keeps the cluster right depends on it.

use crate::observe::last_quorum_acked;
use crate::types::Types;
use detcd_core::api::MemberId;
use detcd_rt::Instant;
use openraft::{RaftMetrics, ServerState};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Which leader this member has heard from last, and when.
#[derive(Clone, Default)]
pub(crate) struct Contact(Arc<Mutex<Option<(u64, Instant)>>>);

impl Contact {
    /// `leader` has sent something, and no newer one is known.
    pub(crate) fn heard_from(&self, leader: u64) {
        *self.0.lock().expect("nothing panics while it holds it") = Some((leader, Instant::now()));
    }

    /// The leader, if it was in contact within the last `patience`.
    pub(crate) fn leader(
        &self,
        metrics: &RaftMetrics<Types>,
        patience: Duration,
    ) -> Option<MemberId> {
        let leader = metrics.current_leader?;
        let last = match metrics.state {
            ServerState::Leader => last_quorum_acked(metrics)?.0,
            _ => self.last_heard(leader)?.as_millis(),
        };
        let silent_ms = detcd_rt::now_ms().saturating_sub(last);
        (u128::from(silent_ms) < patience.as_millis()).then_some(MemberId(leader))
    }

    fn last_heard(&self, leader: u64) -> Option<Instant> {
        let last = *self.0.lock().expect("nothing panics while it holds it");
        last.filter(|(from, _)| *from == leader).map(|(_, at)| at)
    }
}

/// How long a leader may be silent: as long as it takes until the last of those who follow it
/// stands for election in its place (see [`crate::node`]). With less, members that merely were
/// slow would be said to have no leader; with more, they would be without one, and say so to nobody.
pub(crate) fn patience(election: Duration) -> Duration {
    election * 3 / 2
}
