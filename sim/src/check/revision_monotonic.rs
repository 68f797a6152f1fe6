//! As long as a process lives, its store's revision only grows.

use super::Finding;
use super::logs::Logs;
use super::steps::{Invariant, Step, What};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct RevisionMonotonic {
    revisions: BTreeMap<usize, i64>,
}

impl Invariant for RevisionMonotonic {
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
    use super::*;
    use crate::check::transcript::judge;

    #[test]
    fn a_revision_that_goes_back_is_seen() {
        judge::<RevisionMonotonic>(
            "m2 revision 2; m2 revision 2; m2 revision 5; ! m2 revision 4; m2 started; m2 revision 3",
        );
    }
}
