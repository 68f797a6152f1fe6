//! What must be true: a file for each check.
//!
//! - *always*: invariants of raft and of the replicated state, looked at whenever a member tells
//!   of a step ([`steps`]);
//! - *history*: what clients saw, judged when the run is over;
//! - *healed*: that the cluster comes back once faults have ended.

pub mod commit_monotonic;
pub mod durable;
pub mod election_safety;
pub mod hash_equal;
pub mod leader_completeness;
pub mod lease;
pub mod linearizable;
pub mod log_matching;
pub mod replay;
pub mod revision_monotonic;
pub mod state_machine_safety;
pub mod steps;
#[cfg(test)]
mod tests;
pub mod violation;
pub mod watch;
pub mod wing_gong;

use crate::scenario::reader::{Problem, Reader};
use crate::scenario::word_list;
use std::fmt;

pub use violation::{About, Finding, Violation};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    ElectionSafety,
    LogMatching,
    LeaderCompleteness,
    StateMachineSafety,
    CommitMonotonic,
    RevisionMonotonic,
    Linearizable,
    Watch,
    Lease,
    Durable,
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

const ALL: [(&str, Check, Phase); 14] = [
    ("election-safety", Check::ElectionSafety, Phase::Always),
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
    (
        "revision-monotonic",
        Check::RevisionMonotonic,
        Phase::Always,
    ),
    ("linearizable", Check::Linearizable, Phase::History),
    ("watch", Check::Watch, Phase::History),
    ("lease", Check::Lease, Phase::History),
    ("durable", Check::Durable, Phase::History),
    ("leader-elected", Check::LeaderElected, Phase::Healed),
    ("converged", Check::Converged, Phase::Healed),
    ("hash-equal", Check::HashEqual, Phase::Healed),
    ("serves", Check::Serves, Phase::Healed),
];

const PHASES: [(&str, Phase); 3] = [
    ("always", Phase::Always),
    ("history", Phase::History),
    ("healed", Phase::Healed),
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

/// Every check by name.
pub fn names() -> Vec<(&'static str, Check)> {
    ALL.iter().map(|(name, check, _)| (*name, *check)).collect()
}

/// The checks that a scenario asks for; all of a phase that it does not mention.
pub fn read(scenario: &Reader<'_>) -> Result<Vec<Check>, Problem> {
    let of = |wanted| {
        let of_phase = ALL.iter().filter(move |(_, _, phase)| *phase == wanted);
        of_phase.map(|(name, check, _)| (*name, *check))
    };
    let Some(reader) = scenario.table("check")? else {
        return Ok(ALL.iter().map(|(_, check, _)| *check).collect());
    };
    let mut checks = Vec::new();
    for (key, phase) in PHASES {
        let known: Vec<(&'static str, Check)> = of(phase).collect();
        match reader.choices(key, &known)? {
            Some(chosen) => checks.extend(chosen),
            None => checks.extend(known.iter().map(|(_, check)| *check)),
        }
    }
    reader.done()?;
    Ok(checks)
}

/// The `[check]` table of these checks.
pub struct Display<'a>(pub &'a [Check]);

impl fmt::Display for Display<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[check]")?;
        for (key, phase) in PHASES {
            let of_phase: Vec<&Check> = self.0.iter().filter(|c| c.phase() == phase).collect();
            writeln!(f, "{key} = {}", word_list(&of_phase))?;
        }
        Ok(())
    }
}
