//! A leader has every entry that was committed before its term (Raft, figure 3: Leader
//! Completeness), in its log or under its snapshot.

use super::Finding;
use super::logs::Logs;
use super::steps::{Invariant, Step, What};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct LeaderCompleteness {
    /// The term of each entry that some member applied: so it was committed, in that term or a
    /// later one.
    applied: BTreeMap<u64, Committed>,
    leads: BTreeMap<usize, u64>,
    /// The highest term that any member was known to lead when it committed.
    term: u64,
}

#[derive(Clone, Copy)]
struct Committed {
    /// The entry's own.
    term: u64,
    /// A leader of this term or a later one committed it, or an earlier one did.
    known_in: u64,
}

impl Invariant for LeaderCompleteness {
    fn step(&mut self, step: &Step, logs: &Logs) -> Result<(), Finding> {
        match step.what {
            What::Applied { index, term, .. } => {
                let known_in = self.term.max(term);
                self.applied
                    .entry(index)
                    .or_insert(Committed { term, known_in });
                Ok(())
            }
            What::Leads { term, .. } => {
                let told_before = self.leads.insert(step.member, term) == Some(term);
                let found = if told_before {
                    None
                } else {
                    self.missing(step.member, term, logs)
                };
                self.term = self.term.max(term);
                found.map_or(Ok(()), Err)
            }
            _ => Ok(()),
        }
    }
}

impl LeaderCompleteness {
    /// The first committed entry that a new leader of this term lacks.
    fn missing(&self, member: usize, term: u64, logs: &Logs) -> Option<Finding> {
        let log = logs.of(member);
        let floor = log.map_or(0, |log| log.floor());
        let committed = self.applied.range(floor..);
        let mut before = committed.filter(|(_, committed)| committed.known_in < term);
        let (index, committed) = before.find(|(index, committed)| {
            let held = log.and_then(|log| log.get(**index));
            held.is_none_or(|entry| entry.term != committed.term)
        })?;
        let end = log.map_or(0, |log| log.end());
        let what = format!(
            "member {} leads term {term} with a log of the entries {floor} to {}, but lacks entry \
             {index} of term {}, which was committed before",
            member + 1,
            end.saturating_sub(1),
            committed.term
        );
        Some(Finding::new(what).index(*index).term(term))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::transcript::judge;

    #[test]
    fn leaders_with_all_that_was_committed_are_fine() {
        // Member 1 tells of its first term late: entry 1 is of a later one. And a snapshot covers
        // what member 3's log lacks.
        judge::<LeaderCompleteness>(
            "m1 leads 1; m1,2 appended 0@1; m1 applied 0@1; m2 leads 2; m2 appended 1@2
             m2 applied 1@2; m1 leads 1; m3 restored 1; m3 leads 3",
        );
    }

    #[test]
    fn a_leader_without_a_committed_entry_is_seen() {
        judge::<LeaderCompleteness>(
            "m1 leads 1; m1 appended 0@1; m1 applied 0@1; ! m2 leads 2

             m1 leads 1; m1 appended 0@1; m1 applied 0@1; m2 appended 0@2; ! m2 leads 3",
        );
    }
}
