//! The engine's metrics, turned into core's events: who leads, and whether a leading member still
//! hears from its quorum. Also which leader was heard from lately, where the members are reached, and
//! whether the engine has stopped for good.

use crate::leader_liveness::Liveness;
use crate::node::Sink;
use crate::peer_addresses::Addresses;
use crate::runtime::WatchReceiver as Metrics;
use crate::trace_steps;
use crate::types::{Types, term_of};
use detcd_core::api::{MemberId, Millis};
use detcd_core::event::Event;
use detcd_core::limits::APPLY_LAG_MAX;
use detcd_core::status::RaftStatus;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use openraft::{RaftMetrics, ServerState};
use std::error::Error as _;
use std::time::Duration;
use tokio::sync::watch;

/// Under load a quorum acknowledges thousands of times a second; nobody needs to know more
/// closely than this.
const QUORUM_ACKED_STEP_MS: u64 = 10;

/// How far apply may lag before the core is told what is committed: below this it does not matter,
/// and above it writes will soon be refused.
const LAG_TOLD_MIN: u64 = APPLY_LAG_MAX / 2;

/// Who is told, besides the sink.
pub(crate) struct Listeners {
    pub(crate) fatal: watch::Sender<Option<String>>,
    /// Who leads and was heard from lately.
    pub(crate) leader: watch::Sender<Option<MemberId>>,
}

/// `pace`: how often is looked without news. Silence is none; and a leader that is its own quorum
/// hears from it at any moment, but openraft counts the answers of others only.
pub(crate) async fn observe(
    mut metrics: Metrics<RaftMetrics<Types>>,
    sink: Sink,
    listeners: Listeners,
    (liveness, mut addresses): (Liveness, Addresses),
    pace: Duration,
) {
    let mut told = Told::default();
    loop {
        let (seen, leader, moves) = {
            let metrics = metrics.borrow_and_update();
            let moves = addresses.follow(&metrics);
            (Seen::of(&metrics), liveness.leader(&metrics), moves)
        };
        addresses.execute(moves);
        told.tell(&seen, &sink);
        tell_leader(&listeners.leader, leader);
        if let Some(reason) = seen.fatal {
            listeners.fatal.send_replace(Some(reason));
            return;
        }
        let changed = detcd_rt::timeout(pace, metrics.changed()).await;
        if changed.unwrap_or(Ok(())).is_err() {
            return;
        }
    }
}

fn tell_leader(listeners: &watch::Sender<Option<MemberId>>, leader: Option<MemberId>) {
    listeners.send_if_modified(|known| {
        let before = std::mem::replace(known, leader);
        if let (Some(lost), None) = (before, leader) {
            tracing::warn!(%lost, "the leader was not heard from for too long");
        }
        if before != leader {
            trace_steps::leader_known(leader);
        }
        before != leader
    });
}

pub(crate) fn status(metrics: &RaftMetrics<Types>) -> RaftStatus {
    let members = crate::machine::members_of(metrics.membership_config.membership());
    RaftStatus {
        term: metrics.current_term,
        leader: metrics.current_leader.map(MemberId),
        is_leader: metrics.state == ServerState::Leader,
        is_learner: members
            .iter()
            .any(|member| member.id.0 == metrics.id && member.is_learner),
        last_log_index: metrics.last_log_index.unwrap_or(0),
        committed: metrics.local_committed.map_or(0, |log_id| log_id.index()),
        applied: metrics.last_applied.map_or(0, |log_id| log_id.index()),
        applied_term: metrics.last_applied.as_ref().map_or(0, term_of),
        snapshot: metrics.snapshot.map_or(0, |log_id| log_id.index()),
        purged: metrics.purged.map(|log_id| log_id.index()),
        last_quorum_acked: last_quorum_acked(metrics),
        members,
    }
}

/// When a quorum had last acknowledged this leader. Of a leader that was just elected, nobody knows.
pub(crate) fn last_quorum_acked(metrics: &RaftMetrics<Types>) -> Option<Millis> {
    if is_own_quorum(metrics) {
        return Some(Millis(detcd_rt::now_ms()));
    }
    let acked = metrics.last_quorum_acked?;
    Some(Millis(acked.into_inner().0.as_millis()))
}

/// Whether this member leads and is the only voter.
fn is_own_quorum(metrics: &RaftMetrics<Types>) -> bool {
    let configs = metrics.membership_config.get_joint_config();
    metrics.state == ServerState::Leader
        && !configs.is_empty()
        && configs.iter().all(|voters| voters.iter().eq([&metrics.id]))
}

/// What the sink is told about; the engine shows new metrics thousands of times a second.
struct Seen {
    term: u64,
    leader: Option<MemberId>,
    is_leader: bool,
    last_quorum_acked: Option<Millis>,
    last_log_index: u64,
    committed: u64,
    applied: u64,
    fatal: Option<String>,
}

impl Seen {
    fn of(metrics: &RaftMetrics<Types>) -> Seen {
        Seen {
            term: metrics.current_term,
            leader: metrics.current_leader.map(MemberId),
            is_leader: metrics.state == ServerState::Leader,
            last_quorum_acked: last_quorum_acked(metrics),
            last_log_index: metrics.last_log_index.unwrap_or(0),
            committed: metrics.local_committed.map_or(0, |log_id| log_id.index()),
            applied: metrics.last_applied.map_or(0, |log_id| log_id.index()),
            fatal: fatal_reason(metrics),
        }
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
    fn tell(&mut self, seen: &Seen, sink: &Sink) {
        let role = (seen.term, seen.leader, seen.is_leader);
        if self.role != Some(role) {
            self.role = Some(role);
            self.quorum_acked_ms = None;
            let leader = seen.leader.map(|leader| leader.0);
            trace_steps::role(seen.term, leader, seen.is_leader, seen.last_log_index);
            sink(Event::Role {
                term: seen.term,
                leader: seen.leader,
                is_leader: seen.is_leader,
            });
        }
        if seen.committed > self.committed.max(seen.applied + LAG_TOLD_MIN) {
            self.committed = seen.committed;
            sink(Event::Committed {
                index: seen.committed,
            });
        }
        let Some(since) = seen.last_quorum_acked.filter(|_| seen.is_leader) else {
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
        Err(fatal) => Some(reason(fatal)),
    }
}

/// Why the engine stopped: the cause as the storage told it, without what the engine wraps it in.
pub(crate) fn reason(fatal: &Fatal<Types>) -> String {
    let Fatal::StorageError(error) = fatal else {
        return fatal.to_string();
    };
    let Some(cause) = error.source() else {
        return fatal.to_string();
    };
    let cause = cause.to_string();
    // What openraft's error says of its own type.
    let cause = cause.strip_prefix("std::io::error::Error: ");
    cause.map_or_else(|| fatal.to_string(), str::to_owned)
}
