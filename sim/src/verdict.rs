//! What a run or a series of runs comes to: exit codes and words.

use crate::check::{Check, Violation};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How the simulator's process ends; the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    Pass,
    /// The command, the build or the scenario makes no sense; a run that proves nothing.
    Usage,
    NotLive,
    Nondeterministic,
    NodeCrash,
    /// A safety violation, or a planted bug that was not caught.
    Unsafe,
}

impl Verdict {
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Pass => 0,
            Verdict::Unsafe => 1,
            Verdict::Usage => 2,
            Verdict::NotLive => 3,
            Verdict::Nondeterministic => 4,
            Verdict::NodeCrash => 5,
        }
    }

    /// Of violations and stopped members, the worst.
    pub fn of(violations: &[Violation], crashed: bool, missing_marks: &[String]) -> Verdict {
        if violations.iter().any(|violation| !violation.is_liveness()) {
            Verdict::Unsafe
        } else if crashed {
            Verdict::NodeCrash
        } else if !violations.is_empty() {
            Verdict::NotLive
        } else if !missing_marks.is_empty() {
            Verdict::Usage
        } else {
            Verdict::Pass
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Pass => "pass",
            Verdict::Unsafe => "SAFETY VIOLATED",
            Verdict::Usage => "PROVES NOTHING",
            Verdict::NotLive => "NOT LIVE",
            Verdict::Nondeterministic => "NOT DETERMINISTIC",
            Verdict::NodeCrash => "NODE CRASHED",
        })
    }
}

/// What the process of one run tells the one that started it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunResult {
    pub verdict: Verdict,
    pub hash: u64,
    pub events: u64,
    pub simulated_ms: u64,
    pub operations: usize,
    pub unknown: usize,
    /// The names of the checks that found something.
    pub found_by: Vec<String>,
}

impl RunResult {
    /// Of a run that did not tell anything itself.
    pub fn nothing(verdict: Verdict) -> RunResult {
        RunResult {
            verdict,
            hash: 0,
            events: 0,
            simulated_ms: 0,
            operations: 0,
            unknown: 0,
            found_by: Vec::new(),
        }
    }

    /// Whether one of these checks found something.
    pub fn is_caught_by(&self, checks: &[Check]) -> bool {
        checks
            .iter()
            .any(|check| self.found_by.contains(&check.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_decides() {
        let lost = Violation::new(Check::Durable, "lost");
        let stuck = Violation::new(Check::Converged, "stuck");
        let mark = ["leader.crashed".to_owned()];
        assert_eq!(Verdict::of(&[], false, &[]), Verdict::Pass);
        assert_eq!(Verdict::of(&[], false, &mark), Verdict::Usage);
        assert_eq!(
            Verdict::of(std::slice::from_ref(&stuck), false, &mark),
            Verdict::NotLive
        );
        assert_eq!(
            Verdict::of(std::slice::from_ref(&stuck), true, &mark),
            Verdict::NodeCrash
        );
        assert_eq!(Verdict::of(&[stuck, lost], true, &[]), Verdict::Unsafe);
    }
}
