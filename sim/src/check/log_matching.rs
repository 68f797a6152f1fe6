//! If two logs have an entry of the same index and term, they are equal up to it (Raft, figure 3:
//! Log Matching).
//!
//! That is so exactly if an entry's index and term decide its content and the term of the entry
//! before it.

use super::Finding;
use super::logs::Logs;
use super::steps::{Invariant, Step, What};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct LogMatching {
    /// By term and index.
    entries: BTreeMap<(u64, u64), First>,
}

/// The entry as it was seen first.
#[derive(Clone, Copy)]
struct First {
    member: usize,
    hash: u64,
    /// The term of the entry before, where that was in the log.
    before: Option<u64>,
}

impl Invariant for LogMatching {
    fn step(&mut self, step: &Step, logs: &Logs) -> Result<(), Finding> {
        let What::Appended { index, term, hash } = step.what else {
            return Ok(());
        };
        let log = logs.of(step.member);
        let before = log.and_then(|log| log.get(index.checked_sub(1)?));
        let before = before.map(|entry| entry.term);
        let member = step.member;
        let first = self.entries.entry((term, index)).or_insert(First {
            member,
            hash,
            before,
        });
        let (a, b) = (first.member + 1, member + 1);
        let about = |what: String| Finding::new(what).member(first.member).index(index);
        if first.hash != hash {
            let what = format!("entry {index} of term {term} differs between members {a} and {b}");
            return Err(about(what).term(term));
        }
        match (first.before, before) {
            (Some(first_before), Some(before)) if first_before != before => {
                let what = format!(
                    "members {a} and {b} agree on entry {index} of term {term}, but the entry \
                     before it is of term {first_before} on one and of term {before} on the other"
                );
                Err(about(what).term(term))
            }
            (None, Some(_)) => {
                first.before = before;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::transcript::judge;

    #[test]
    fn logs_that_grow_alike_are_fine() {
        judge::<LogMatching>("m1,2 appended 5@1#7; m2,1 appended 6@2#8");
    }

    #[test]
    fn entries_of_one_index_and_term_that_differ_are_seen() {
        judge::<LogMatching>("m1 appended 5@1#7; m2 appended 5@2#8; ! m3 appended 5@1#8");
    }

    #[test]
    fn equal_entries_on_unequal_logs_are_seen() {
        judge::<LogMatching>(
            "m1 appended 5@1#7; m1 appended 6@3#9; m2 appended 5@2#8; ! m2 appended 6@3#9",
        );
    }
}
