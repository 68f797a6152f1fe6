//! What must be true: a file for each check.
//!
//! - *always*: invariants of raft and of the replicated state, looked at whenever a member tells
//!   of a step ([`steps`]);
//! - *history*: what clients saw, judged when the run is over;
//! - *healed*: that the cluster comes back once faults have ended.

pub mod ack_after_sync;
pub mod append;
pub mod bank;
pub mod commit_monotonic;
pub mod compaction;
pub mod cycle;
pub mod durable;
pub mod election_safety;
pub mod facts;
pub mod graph;
pub mod group;
pub mod hash_equal;
pub mod headers;
pub mod informer;
pub mod leader_append_only;
pub mod leader_completeness;
pub mod lease;
pub mod lease_ends;
pub mod lease_list;
pub mod linearizable;
pub mod listing;
pub mod log_matching;
pub mod logs;
pub mod member_list;
pub mod members;
pub mod refusals;
pub mod replay;
pub mod revision_monotonic;
pub mod rows;
pub mod serializable;
pub mod sizes;
pub mod state_machine_safety;
pub mod status;
pub mod steps;
pub mod streams;
#[cfg(test)]
mod tests;
pub mod timeline;
pub mod turns;
pub mod violation;
pub mod vote_durable;
pub mod watch;
pub mod wing_gong;

use crate::history::History;
use crate::scenario::choice::Choice;
use crate::scenario::reader::{Problem, Reader};
use crate::scenario::settings::{Setting, settings};
use std::fmt;

pub use facts::Facts;
pub use lease::Clocks;
pub use violation::{About, Finding, Violation};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    ElectionSafety,
    LeaderAppendOnly,
    LogMatching,
    LeaderCompleteness,
    StateMachineSafety,
    CommitMonotonic,
    VoteDurable,
    AckAfterSync,
    RevisionMonotonic,
    Members,
    /// No member stops by itself; what it found wrong is its own to say.
    Alive,
    Linearizable,
    CheckersAgree,
    /// No refusal without a reason.
    Refusals,
    Serializable,
    Headers,
    Compaction,
    Watch,
    Streams,
    Lease,
    Durable,
    Append,
    Bank,
    Cycle,
    MutualExclusion,
    Election,
    Listing,
    Informer,
    Sizes,
    MemberList,
    Status,
    LeaseList,
    LeaderElected,
    Converged,
    HashEqual,
    Serves,
}

/// When a check looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Always,
    History,
    Healed,
}

const ALL: &[(&str, Check, Phase)] = &[
    ("election-safety", Check::ElectionSafety, Phase::Always),
    ("leader-append-only", Check::LeaderAppendOnly, Phase::Always),
    ("log-matching", Check::LogMatching, Phase::Always),
    (
        "leader-completeness",
        Check::LeaderCompleteness,
        Phase::Always,
    ),
    (
        "state-machine-safety",
        Check::StateMachineSafety,
        Phase::Always,
    ),
    ("commit-monotonic", Check::CommitMonotonic, Phase::Always),
    ("vote-durable", Check::VoteDurable, Phase::Always),
    ("ack-after-sync", Check::AckAfterSync, Phase::Always),
    (
        "revision-monotonic",
        Check::RevisionMonotonic,
        Phase::Always,
    ),
    ("members", Check::Members, Phase::Always),
    ("alive", Check::Alive, Phase::Always),
    ("linearizable", Check::Linearizable, Phase::History),
    ("checkers-agree", Check::CheckersAgree, Phase::History),
    ("refusals", Check::Refusals, Phase::History),
    ("serializable", Check::Serializable, Phase::History),
    ("headers", Check::Headers, Phase::History),
    ("compaction", Check::Compaction, Phase::History),
    ("watch", Check::Watch, Phase::History),
    ("streams", Check::Streams, Phase::History),
    ("lease", Check::Lease, Phase::History),
    ("durable", Check::Durable, Phase::History),
    ("append", Check::Append, Phase::History),
    ("bank", Check::Bank, Phase::History),
    ("cycle", Check::Cycle, Phase::History),
    ("mutual-exclusion", Check::MutualExclusion, Phase::History),
    ("election", Check::Election, Phase::History),
    ("listing", Check::Listing, Phase::History),
    ("informer", Check::Informer, Phase::History),
    ("sizes", Check::Sizes, Phase::History),
    ("member-list", Check::MemberList, Phase::History),
    ("status", Check::Status, Phase::History),
    ("lease-list", Check::LeaseList, Phase::History),
    ("leader-elected", Check::LeaderElected, Phase::Healed),
    ("converged", Check::Converged, Phase::Healed),
    ("hash-equal", Check::HashEqual, Phase::Healed),
    ("serves", Check::Serves, Phase::Healed),
];

/// A check that judges what the clients of one kind of workload saw.
pub type OfWorkload = fn(&History, Clocks) -> Vec<Violation>;

/// The checks that each belong to a kind of workload.
pub const OF_WORKLOADS: &[(Check, OfWorkload)] = &[
    (Check::Append, |history, _| append::check(history)),
    (Check::Bank, |history, _| bank::check(history)),
    (Check::Cycle, |history, _| cycle::check(history)),
    (Check::MutualExclusion, turns::exclusive),
    (Check::Election, |history, _| turns::observed(history)),
    (Check::Listing, |history, _| listing::check(history)),
    (Check::Informer, |history, _| informer::check(history)),
    (Check::Sizes, |history, _| sizes::check(history)),
    (Check::Streams, |history, _| streams::check(history)),
];

impl Check {
    pub fn phase(self) -> Phase {
        let (_, _, phase) = ALL
            .iter()
            .find(|(_, check, _)| *check == self)
            .expect("ALL is all");
        *phase
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _, _) = ALL
            .iter()
            .find(|(_, check, _)| check == self)
            .expect("ALL is all");
        f.write_str(name)
    }
}

impl Choice for Check {
    fn words() -> Vec<(&'static str, Check)> {
        ALL.iter().map(|(name, check, _)| (*name, *check)).collect()
    }
}

settings! {
    /// What is checked. Of a phase that is not mentioned, everything is.
    pub struct Checks {
        /// Invariants of raft and of the replicated state, looked at whenever a member tells of a
        /// step.
        pub always: Option<Vec<Check>>,
        /// What clients saw, judged when the run is over.
        pub history: Option<Vec<Check>>,
        /// That the cluster comes back once faults have ended.
        pub healed: Option<Vec<Check>>,
    }
    verify = Checks::verify;
}

impl Checks {
    /// Every check that is asked for.
    pub fn all(&self) -> Vec<Check> {
        let asked = |phase: Phase, chosen: &Option<Vec<Check>>| match chosen {
            Some(chosen) => chosen.clone(),
            None => Check::every()
                .into_iter()
                .filter(|check| check.phase() == phase)
                .collect(),
        };
        let mut checks = asked(Phase::Always, &self.always);
        checks.extend(asked(Phase::History, &self.history));
        checks.extend(asked(Phase::Healed, &self.healed));
        checks
    }

    fn verify(&self, reader: &Reader<'_>) -> Result<(), Problem> {
        let phases = [
            (Phase::Always, &self.always),
            (Phase::History, &self.history),
            (Phase::Healed, &self.healed),
        ];
        for (phase, chosen) in phases {
            let misplaced = chosen.iter().flatten().find(|check| check.phase() != phase);
            if let Some(check) = misplaced {
                let message = format!("`{check}` belongs to `{}`", check.phase().key());
                return Err(reader.problem_at(phase.key(), message));
            }
        }
        Ok(())
    }
}

impl Phase {
    fn key(self) -> &'static str {
        match self {
            Phase::Always => "always",
            Phase::History => "history",
            Phase::Healed => "healed",
        }
    }
}
