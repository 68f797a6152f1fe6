//! As long as a process lives, its store's revision only grows.

use super::logs::Logs;
use super::steps::{Invariant, Step, What};
use super::{Check, Finding};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct RevisionMonotonic {
    revisions: BTreeMap<usize, i64>,
}

impl Invariant for RevisionMonotonic {
    fn check(&self) -> Check {
        Check::RevisionMonotonic
    }

    fn step(&mut self, step: &Step, _: &Logs) -> Result<(), Finding> {
        match step.what {
            What::Started => drop(self.revisions.remove(&step.member)),
            What::Revision { revision } => {
                let before = self.revisions.insert(step.member, revision);
                if let Some(before) = before.filter(|before| *before > revision) {
                    let member = step.member + 1;
                    let what = format!(
                        "the store of member {member} went back from revision {before} to \
                         {revision}"
                    );
                    return Err(Finding::new(what).revision(revision));
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
