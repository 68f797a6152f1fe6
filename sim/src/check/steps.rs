//! The invariants that are looked at whenever a member tells of a step.

use super::commit_monotonic::CommitMonotonic;
use super::election_safety::ElectionSafety;
use super::leader_completeness::LeaderCompleteness;
use super::log_matching::LogMatching;
use super::revision_monotonic::RevisionMonotonic;
use super::state_machine_safety::StateMachineSafety;
use super::{Check, Finding, Violation};
use crate::time;

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
    /// It leads in this term, and its log ends here.
    Leads { term: u64, last_log_index: u64 },
    /// An entry is in its log. `hash` is of the entry's payload.
    Appended { index: u64, term: u64, hash: u64 },
    /// It knows that entries up to here are committed.
    Committed { index: u64 },
    /// It applied an entry.
    Applied { index: u64, term: u64, hash: u64 },
    /// Its replicated rows have this hash after it applied up to `index`.
    State { index: u64, hash: u64 },
    /// A snapshot replaced its state.
    Restored { index: u64 },
    /// Its store is at this revision.
    Revision { revision: i64 },
}

/// One invariant.
pub trait Invariant {
    fn check(&self) -> Check;
    /// What is violated by this step, in words.
    fn step(&mut self, step: &Step) -> Result<(), String>;
}

/// The invariants that a scenario asks for.
pub struct Steps {
    invariants: Vec<Box<dyn Invariant + Send>>,
    violations: Vec<Violation>,
}

/// After so many violations of steps the rest is noise.
const VIOLATIONS_MAX: usize = 20;

impl Steps {
    pub fn new(checks: &[Check]) -> Steps {
        let all: Vec<Box<dyn Invariant + Send>> = vec![
            Box::new(ElectionSafety::default()),
            Box::new(LogMatching::default()),
            Box::new(LeaderCompleteness::default()),
            Box::new(StateMachineSafety::default()),
            Box::new(CommitMonotonic::default()),
            Box::new(RevisionMonotonic::default()),
        ];
        let invariants = all
            .into_iter()
            .filter(|one| checks.contains(&one.check()))
            .collect();
        Steps {
            invariants,
            violations: Vec::new(),
        }
    }

    pub fn step(&mut self, step: &Step) {
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.step(step)
                && self.violations.len() < VIOLATIONS_MAX
            {
                let what = format!("{what} (member {}: {:?})", step.member + 1, step.what);
                let finding = Finding::new(what).member(step.member).time(time::now());
                self.violations.push(finding.of(invariant.check()));
            }
        }
    }

    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

#[cfg(test)]
pub(crate) fn verdicts(invariant: &mut dyn Invariant, steps: &[(usize, What)]) -> Vec<bool> {
    let run = |(member, what): &(usize, What)| Step {
        member: *member,
        what: what.clone(),
    };
    steps
        .iter()
        .map(|step| invariant.step(&run(step)).is_ok())
        .collect()
}
