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
#[cfg(test)]
pub(crate) mod forge;
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
pub mod snapshots;
pub mod state_machine_safety;
pub mod status;
pub mod steps;
pub mod streams;
#[cfg(test)]
mod tests;
pub mod timeline;
#[cfg(test)]
mod transcript;
pub mod turns;
pub mod v2;
pub mod violation;
pub mod vote_durable;
pub mod watch;
pub mod wing_gong;

use crate::scenario::choice::Choice;
use crate::scenario::reader::{Problem, Reader};
use crate::scenario::settings::{Setting, settings};
use std::fmt;

pub use facts::Facts;
pub use lease::Clocks;
pub use violation::{About, Finding, Violation};

/// Declares the checks, by when they look, with their names in files.
macro_rules! checks {
    ($($phase:ident { $($(#[doc = $doc:literal])* $check:ident = $name:literal,)* })*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Check {
            $($($(#[doc = $doc])* $check,)*)*
        }

        const ALL: &[(&str, Check, Phase)] = &[$($(($name, Check::$check, Phase::$phase),)*)*];
    };
}

checks! {
    Always {
        ElectionSafety = "election-safety",
        LeaderAppendOnly = "leader-append-only",
        LogMatching = "log-matching",
        LeaderCompleteness = "leader-completeness",
        StateMachineSafety = "state-machine-safety",
        CommitMonotonic = "commit-monotonic",
        VoteDurable = "vote-durable",
        AckAfterSync = "ack-after-sync",
        RevisionMonotonic = "revision-monotonic",
        Members = "members",
        /// No member stops by itself; what it found wrong is its own to say.
        Alive = "alive",
    }
    History {
        Linearizable = "linearizable",
        CheckersAgree = "checkers-agree",
        /// No refusal without a reason.
        Refusals = "refusals",
        Serializable = "serializable",
        Headers = "headers",
        Compaction = "compaction",
        Watch = "watch",
        Streams = "streams",
        Lease = "lease",
        Durable = "durable",
        Append = "append",
        Bank = "bank",
        Cycle = "cycle",
        MutualExclusion = "mutual-exclusion",
        Election = "election",
        Snapshot = "snapshot",
        Listing = "listing",
        Informer = "informer",
        Sizes = "sizes",
        MemberList = "member-list",
        V2 = "v2",
        Status = "status",
        LeaseList = "lease-list",
    }
    Healed {
        LeaderElected = "leader-elected",
        Converged = "converged",
        HashEqual = "hash-equal",
        Serves = "serves",
    }
}

/// When a check looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Always,
    History,
    Healed,
}

/// What a check finds wrong with a history.
pub type Judge = fn(&Facts<'_>) -> Vec<Finding>;

/// Who judges histories, in the order in which they tell.
pub const JUDGES: &[(Check, Judge)] = &[
    (Check::Append, |facts| append::check(facts.history)),
    (Check::Bank, bank::check),
    (Check::Cycle, cycle::check),
    (Check::MutualExclusion, turns::exclusive),
    (Check::Election, turns::observed),
    (Check::Snapshot, snapshots::check),
    (Check::Listing, listing::check),
    (Check::Informer, informer::check),
    (Check::Sizes, |facts| sizes::check(facts.history)),
    (Check::Streams, |facts| streams::check(facts.history)),
    (Check::Durable, |facts| durable::check(facts.history)),
    (Check::CheckersAgree, linearizable::disagreements),
    (Check::Linearizable, linearizable::check),
    (Check::Refusals, refusals::check),
    (Check::Serializable, serializable::check),
    (Check::Headers, |facts| headers::check(facts.history)),
    (Check::MemberList, |facts| member_list::check(facts.history)),
    (Check::Status, |facts| status::check(facts.history)),
    (Check::LeaseList, lease_list::check),
    (Check::Compaction, |facts| compaction::check(facts.history)),
    (Check::HashEqual, |facts| hash_equal::check(facts.history)),
    (Check::Watch, |facts| watch::check(facts.history)),
    (Check::Lease, lease::check),
    (Check::V2, v2::check),
];

impl Check {
    fn row(self) -> (&'static str, Phase) {
        let row = ALL.iter().find(|(_, check, _)| *check == self);
        let (name, _, phase) = row.expect("ALL is all");
        (name, *phase)
    }

    pub fn phase(self) -> Phase {
        self.row().1
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().0)
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
    /// What was chosen of each phase, if anything was.
    fn by_phase(&self) -> [(Phase, &'static str, &Option<Vec<Check>>); 3] {
        [
            (Phase::Always, "always", &self.always),
            (Phase::History, "history", &self.history),
            (Phase::Healed, "healed", &self.healed),
        ]
    }

    /// Every check that is asked for.
    pub fn all(&self) -> Vec<Check> {
        let asked = self.by_phase().into_iter().map(|(phase, _, chosen)| {
            let mut of_phase = Check::every();
            of_phase.retain(|check| check.phase() == phase);
            chosen.clone().unwrap_or(of_phase)
        });
        asked.flatten().collect()
    }

    fn verify(&self, reader: &Reader<'_>) -> Result<(), Problem> {
        for (phase, key, chosen) in self.by_phase() {
            let misplaced = chosen.iter().flatten().find(|check| check.phase() != phase);
            if let Some(check) = misplaced {
                let mut phases = self.by_phase().into_iter();
                let own = phases.find(|(phase, ..)| *phase == check.phase());
                let (_, own, _) = own.expect("a check has a phase");
                let message = format!("`{check}` belongs to `{own}`");
                return Err(reader.problem_at(key, message));
            }
        }
        Ok(())
    }
}
