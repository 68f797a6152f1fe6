//! As long as a process lives, its store's revision only grows.

use super::Check;
use super::steps::{Invariant, Step, What};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct RevisionMonotonic {
    revisions: BTreeMap<usize, i64>,
}

impl Invariant for RevisionMonotonic {
    fn check(&self) -> Check {
        Check::RevisionMonotonic
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step.what {
            What::Started => drop(self.revisions.remove(&step.member)),
            What::Revision { revision } => {
                let before = self.revisions.insert(step.member, revision);
                if before > Some(revision) {
                    return Err(format!(
                        "the revision went back from {before:?} to {revision}"
                    ));
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
    fn a_revision_that_goes_back_is_seen() {
        let at = |revision| (1, What::Revision { revision });
        let steps = [at(2), at(2), at(5), at(4), (1, What::Started), at(3)];
        let seen = verdicts(&mut RevisionMonotonic::default(), &steps);
        assert_eq!(seen, [true, true, true, false, true, true]);
    }
}
