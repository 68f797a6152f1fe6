//! The invariants that are looked at whenever a member tells of a step.

use super::ack_after_sync::AckAfterSync;
use super::commit_monotonic::CommitMonotonic;
use super::election_safety::ElectionSafety;
use super::leader_append_only::LeaderAppendOnly;
use super::leader_completeness::LeaderCompleteness;
use super::log_matching::LogMatching;
use super::logs::{Logs, Voters};
use super::members::{Config, Members};
use super::revision_monotonic::RevisionMonotonic;
use super::state_machine_safety::StateMachineSafety;
use super::vote_durable::VoteDurable;
use super::{Check, Finding, Violation};
use crate::time;
use std::collections::{BTreeMap, BTreeSet};

/// Something that a member did, as it tells itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Counted from 0.
    pub member: usize,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Its process starts (for the first time or again).
    Started,
    /// Its process is gone. `lost`: and so is what its disk had not synced by now.
    Died { lost: bool },
    /// What was on its disk was taken from it, all or some, while it was dead.
    Robbed,
    /// Its log was read from the disk, and holds entries before `end`.
    Recovered { end: u64, committed: u64 },
    /// It is about to save this vote. `hash` is of the vote's bytes.
    Vote { term: u64, node: u64, hash: u64 },
    /// It told a candidate that it has this member's vote.
    Granted { term: u64, node: u64 },
    /// It leads in this term, as the member `node`.
    Leads { term: u64, node: u64 },
    /// An entry is in its log. `hash` is of the entry's payload.
    Appended { index: u64, term: u64, hash: u64 },
    /// Its log was cut off after this entry.
    Truncated { last: u64 },
    /// Its log has no entries up to this one any more.
    Purged { through: u64 },
    /// From this entry of its log on these members vote.
    Configured { index: u64, voters: Voters },
    /// Entries stand in a file. They are durable once this place of the disk is.
    Written {
        first: u64,
        last: u64,
        term: u64,
        place: Place,
    },
    /// A vote stands in a file.
    VoteWritten { hash: u64, place: Place },
    /// Everything up to this place of its disk is durable, by the disk's own account.
    Synced { place: Place },
    /// It told a leader that it has all entries up to this one.
    Acked { index: u64, term: u64 },
    /// It knows that entries up to here are committed.
    Committed { index: u64, term: u64 },
    /// It applied an entry.
    Applied { index: u64, term: u64, hash: u64 },
    /// Its replicated rows have this hash after it applied up to `index`.
    State { index: u64, hash: u64 },
    /// A snapshot replaced its state.
    Restored { index: u64 },
    /// It applied a membership; `own` is its id.
    Membership {
        index: u64,
        own: String,
        config: Config,
        removed: BTreeSet<String>,
        /// Which member has which id, as far as it is known.
        places: BTreeMap<String, usize>,
    },
    /// Its store is at this revision.
    Revision { revision: i64 },
}

/// A place in the order of the changes of one file of a member's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: u64,
    pub change: u64,
}

/// One invariant.
pub trait Invariant {
    /// What is violated by this step. `logs` are the members' logs as they were before it.
    fn step(&mut self, step: &Step, logs: &Logs) -> Result<(), Finding>;
}

/// An invariant that has heard nothing yet.
type New = fn() -> Box<dyn Invariant + Send>;

const INVARIANTS: [(Check, New); 10] = [
    (Check::ElectionSafety, new::<ElectionSafety>),
    (Check::LeaderAppendOnly, new::<LeaderAppendOnly>),
    (Check::LogMatching, new::<LogMatching>),
    (Check::LeaderCompleteness, new::<LeaderCompleteness>),
    (Check::StateMachineSafety, new::<StateMachineSafety>),
    (Check::CommitMonotonic, new::<CommitMonotonic>),
    (Check::VoteDurable, new::<VoteDurable>),
    (Check::AckAfterSync, new::<AckAfterSync>),
    (Check::RevisionMonotonic, new::<RevisionMonotonic>),
    (Check::Members, new::<Members>),
];

fn new<I: Invariant + Default + Send + 'static>() -> Box<dyn Invariant + Send> {
    Box::new(I::default())
}

/// The invariants that a scenario asks for.
pub struct Steps {
    /// Each with how often it was violated.
    invariants: Vec<(Check, Box<dyn Invariant + Send>, usize)>,
    logs: Logs,
    /// The last entry that any member knows to be committed.
    committed: u64,
    violations: Vec<Violation>,
}

/// So many violations of each invariant are reported; the rest follows from them.
const REPORTED_MAX: usize = 3;

impl Steps {
    pub fn new(checks: &[Check]) -> Steps {
        let asked = INVARIANTS
            .iter()
            .filter(|(check, _)| checks.contains(check));
        Steps {
            invariants: asked.map(|(check, new)| (*check, new(), 0)).collect(),
            logs: Logs::default(),
            committed: 0,
            violations: Vec::new(),
        }
    }

    pub fn step(&mut self, step: &Step) {
        for (check, invariant, violated) in &mut self.invariants {
            let Err(finding) = invariant.step(step, &self.logs) else {
                continue;
            };
            *violated += 1;
            if *violated <= REPORTED_MAX {
                let finding = finding.member(step.member).time(time::now());
                self.violations.push(finding.of(*check));
            }
        }
        self.logs.follow(step);
        if let What::Committed { index, .. } = step.what {
            self.committed = self.committed.max(index);
        }
    }

    /// The configurations that may count now.
    pub fn configs(&self) -> Vec<Voters> {
        self.logs.configs()
    }

    /// Whether the member's log goes as far as anybody knows of commits.
    pub fn is_complete(&self, member: usize) -> bool {
        let log = self.logs.of(member);
        log.is_some_and(|log| log.end() > self.committed)
    }

    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}
