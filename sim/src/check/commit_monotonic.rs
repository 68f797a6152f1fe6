//! As long as a process lives, what it knows to be committed and what it applied only grow;
//! nothing is applied beyond what is committed, twice, or with a gap; and what is known to be
//! committed is never cut off from the log.

use super::logs::Logs;
use super::steps::{Invariant, Step, What};
use super::{Check, Finding};
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
    use super::super::steps::verdicts;
    use super::*;

    fn committed(index: u64) -> (usize, What) {
        (0, What::Committed { index, term: 1 })
    }

    fn applied(index: u64) -> (usize, What) {
        let (term, hash) = (1, 0);
        (0, What::Applied { index, term, hash })
    }

    fn restored(index: u64) -> (usize, What) {
        (0, What::Restored { index })
    }

    fn seen(steps: &[(usize, What)]) -> Vec<bool> {
        verdicts(&mut CommitMonotonic::default(), steps)
    }

    #[test]
    fn going_back_and_skipping_are_seen() {
        let steps = [
            committed(4),
            committed(3),
            committed(9),
            applied(3),
            applied(4),
            applied(4),
            applied(6),
        ];
        let expected = [true, false, true, true, true, false, false];
        assert_eq!(seen(&steps), expected);
        assert_eq!(seen(&[restored(9), applied(10)]), [true, false]);
        let steps = [restored(9), committed(10), applied(10), restored(9)];
        assert_eq!(seen(&steps), [true, true, true, false]);
    }

    #[test]
    fn restarts_are_forgiven() {
        let recovered = What::Recovered {
            end: 5,
            committed: 3,
        };
        let steps = [
            committed(4),
            applied(4),
            (0, What::Started),
            (0, recovered),
            applied(2),
            applied(3),
            applied(4),
        ];
        let expected = [true, true, true, true, true, true, false];
        assert_eq!(seen(&steps), expected);
    }

    #[test]
    fn cutting_off_what_is_committed_is_seen() {
        let cut = |last| (0, What::Truncated { last });
        assert_eq!(seen(&[committed(4), cut(4), cut(3)]), [true, true, false]);
    }
}
