//! The engine's metrics, turned into core's events: who leads, and whether a leading member still
//! hears from its quorum. Also whether the engine has stopped for good.

use crate::node::{RaftStatus, Sink};
use crate::runtime::WatchReceiver as Metrics;
use crate::steps;
use crate::types::{Types, term_of};
use detcd_core::api::{MemberId, Millis};
use detcd_core::event::Event;
use detcd_core::limits::APPLY_LAG_MAX;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use openraft::{RaftMetrics, ServerState};
use tokio::sync::watch;

/// Under load a quorum acknowledges thousands of times a second; nobody needs to know more
/// closely than this.
const QUORUM_ACKED_STEP_MS: u64 = 10;

/// How far apply may lag before the core is told what is committed: below this it does not matter,
/// and above it writes will soon be refused.
const LAG_TOLD_MIN: u64 = APPLY_LAG_MAX / 2;

pub(crate) async fn observe(
    mut metrics: Metrics<RaftMetrics<Types>>,
    sink: Sink,
    fatal: watch::Sender<Option<String>>,
) {
    let mut told = Told::default();
    loop {
        let status = status(&metrics.borrow_and_update());
        told.tell(&status, &sink);
        if let Some(reason) = fatal_reason(&metrics.borrow_watched()) {
            fatal.send_replace(Some(reason));
            return;
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

pub(crate) fn status(metrics: &RaftMetrics<Types>) -> RaftStatus {
    RaftStatus {
        term: metrics.current_term,
        leader: metrics.current_leader.map(MemberId),
        is_leader: metrics.state == ServerState::Leader,
        is_learner: metrics.state == ServerState::Learner,
        last_log_index: metrics.last_log_index.unwrap_or(0),
        committed: metrics.local_committed.map_or(0, |log_id| log_id.index()),
        applied: metrics.last_applied.map_or(0, |log_id| log_id.index()),
        applied_term: metrics.last_applied.as_ref().map_or(0, term_of),
        snapshot: metrics.snapshot.map_or(0, |log_id| log_id.index()),
        purged: metrics.purged.map(|log_id| log_id.index()),
        last_quorum_acked: metrics
            .last_quorum_acked
            .map(|acked| Millis(acked.into_inner().0.as_millis())),
        members: crate::machine::members_of(metrics.membership_config.membership()),
    }
}

/// What the sink was told last.
#[derive(Default)]
struct Told {
    role: Option<(u64, Option<MemberId>, bool)>,
    quorum_acked_ms: Option<u64>,
    committed: u64,
}

impl Told {
    fn tell(&mut self, status: &RaftStatus, sink: &Sink) {
        let role = (status.term, status.leader, status.is_leader);
        if self.role != Some(role) {
            self.role = Some(role);
            self.quorum_acked_ms = None;
            let leader = status.leader.map(|leader| leader.0);
            steps::role(status.term, leader, status.is_leader, status.last_log_index);
            sink(Event::Role {
                term: status.term,
                leader: status.leader,
                is_leader: status.is_leader,
            });
        }
        if status.committed > self.committed.max(status.applied + LAG_TOLD_MIN) {
            self.committed = status.committed;
            sink(Event::Committed {
                index: status.committed,
            });
        }
        let Some(since) = status.last_quorum_acked.filter(|_| status.is_leader) else {
            return;
        };
        if self
            .quorum_acked_ms
            .is_none_or(|told| since.0 >= told + QUORUM_ACKED_STEP_MS)
        {
            self.quorum_acked_ms = Some(since.0);
            sink(Event::QuorumAcked { since });
        }
    }
}

fn fatal_reason(metrics: &RaftMetrics<Types>) -> Option<String> {
    match &metrics.running_state {
        Ok(()) | Err(Fatal::Stopped) => None,
        Err(fatal) => Some(fatal.to_string()),
    }
}
