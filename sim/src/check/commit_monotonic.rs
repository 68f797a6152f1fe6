//! As long as a process lives, what it knows to be committed and what it applied only grow, and
//! nothing is applied beyond what is committed, twice, or with a gap.

use super::Check;
use super::steps::{Invariant, Step, What};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct CommitMonotonic {
    members: BTreeMap<usize, Progress>,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    committed: u64,
    /// `None` until the process applied or restored anything.
    applied: Option<u64>,
}

impl Invariant for CommitMonotonic {
    fn check(&self) -> Check {
        Check::CommitMonotonic
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let progress = self.members.entry(step.member).or_default();
        match step.what {
            What::Started => *progress = Progress::default(),
            What::Committed { index } => {
                let before = std::mem::replace(&mut progress.committed, index);
                if index < before {
                    return Err(format!(
                        "the committed index went back from {before} to {index}"
                    ));
                }
            }
            What::Restored { index } => {
                let before = progress.applied.replace(index);
                if before > Some(index) {
                    return Err(format!(
                        "a snapshot took the state back from {before:?} to {index}"
                    ));
                }
            }
            What::Applied { index, .. } => {
                let before = progress.applied.replace(index);
                if before.is_some_and(|before| index != before + 1) {
                    return Err(format!("entry {index} was applied after {before:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::steps::verdicts;
    use super::*;

    #[test]
    fn going_back_and_skipping_are_seen_and_restarts_forgiven() {
        let committed = |index| (0, What::Committed { index });
        let applied = |index| {
            (
                0,
                What::Applied {
                    index,
                    term: 1,
                    hash: 0,
                },
            )
        };
        let steps = [
            committed(4),
            committed(3),
            applied(3),
            applied(4),
            applied(4),
            applied(6),
        ];
        let seen = verdicts(&mut CommitMonotonic::default(), &steps);
        assert_eq!(seen, [true, false, true, true, false, false]);
        let steps = [
            applied(4),
            (0, What::Started),
            applied(2),
            (0, What::Restored { index: 9 }),
            applied(10),
            (0, What::Restored { index: 9 }),
        ];
        let seen = verdicts(&mut CommitMonotonic::default(), &steps);
        assert_eq!(seen, [true, true, true, true, true, false]);
    }
}
