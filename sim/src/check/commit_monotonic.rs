//! As long as a process lives, what it knows to be committed and what it applied only grow;
//! nothing is applied beyond what is committed, twice, or with a gap; and what is known to be
//! committed is never cut off from the log.

use super::Finding;
use super::logs::Logs;
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
    fn step(&mut self, step: &Step, _: &Logs) -> Result<(), Finding> {
        let progress = self.members.entry(step.member).or_default();
        let member = step.member + 1;
        let broken = |what: String, index: u64| Err(Finding::new(what).index(index));
        match step.what {
            What::Started => *progress = Progress::default(),
            What::Recovered { committed, .. } => progress.committed = committed,
            What::Committed { index, .. } => {
                let before = std::mem::replace(&mut progress.committed, index);
                if index < before {
                    let what = format!(
                        "member {member} knew that entries up to {before} are committed, and now \
                         says up to {index}"
                    );
                    return broken(what, index);
                }
            }
            What::Restored { index } => {
                let before = progress.applied.replace(index);
                progress.committed = progress.committed.max(index);
                if let Some(before) = before.filter(|before| *before > index) {
                    let what =
                        format!("a snapshot took member {member} back from {before} to {index}");
                    return broken(what, index);
                }
            }
            What::Applied { index, .. } => {
                let before = progress.applied.replace(index);
                if let Some(before) = before.filter(|before| index != before + 1) {
                    let what =
                        format!("member {member} applied entry {index} after entry {before}");
                    return broken(what, index);
                }
                if index > progress.committed {
                    let committed = progress.committed;
                    let what = format!(
                        "member {member} applied entry {index}, and knows only that entries up to \
                         {committed} are committed"
                    );
                    return broken(what, index);
                }
            }
            What::Truncated { last } if last < progress.committed => {
                let committed = progress.committed;
                let what = format!(
                    "member {member} cut its log off after entry {last}, and knows that entries \
                     up to {committed} are committed"
                );
                return broken(what, last);
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
    fn going_back_and_skipping_are_seen() {
        judge::<CommitMonotonic>(
            "m1 committed 4@1; ! m1 committed 3@1; m1 committed 9@1; m1 applied 3@1
             m1 applied 4@1; ! m1 applied 4@1; ! m1 applied 6@1

             m1 restored 9; ! m1 applied 10@1

             m1 restored 9; m1 committed 10@1; m1 applied 10@1; ! m1 restored 9",
        );
    }

    #[test]
    fn restarts_are_forgiven() {
        judge::<CommitMonotonic>(
            "m1 committed 4@1; m1 applied 4@1; m1 started; m1 recovered 5 3; m1 applied 2@1
             m1 applied 3@1; ! m1 applied 4@1",
        );
    }

    #[test]
    fn cutting_off_what_is_committed_is_seen() {
        judge::<CommitMonotonic>("m1 committed 4@1; m1 truncated 4; ! m1 truncated 3");
    }
}
