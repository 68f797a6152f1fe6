//! A leader has every entry that was committed before its term (Raft, figure 3: Leader
//! Completeness), in its log or under its snapshot.

use super::logs::Logs;
use super::steps::{Invariant, Step, What};
use super::{Check, Finding};
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
    fn check(&self) -> Check {
        Check::LeaderCompleteness
    }

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
    use super::super::steps::verdicts;
    use super::*;

    fn appended(member: usize, index: u64, term: u64) -> (usize, What) {
        let hash = 0;
        (member, What::Appended { index, term, hash })
    }

    fn applied(member: usize, index: u64, term: u64) -> (usize, What) {
        let hash = 0;
        (member, What::Applied { index, term, hash })
    }

    fn leads(member: usize, term: u64) -> (usize, What) {
        let (node, last_log_index) = (0, 0);
        let what = What::Leads {
            term,
            node,
            last_log_index,
        };
        (member, what)
    }

    fn seen(steps: &[(usize, What)]) -> bool {
        verdicts(&mut LeaderCompleteness::default(), steps).contains(&false)
    }

    #[test]
    fn leaders_with_all_that_was_committed_are_fine() {
        let steps = [
            leads(0, 1),
            appended(0, 0, 1),
            appended(1, 0, 1),
            applied(0, 0, 1),
            leads(1, 2),
            appended(1, 1, 2),
            applied(1, 1, 2),
            // It tells of its first term late: entry 1 is of a later one.
            leads(0, 1),
            // A snapshot covers what this one's log lacks.
            (2, What::Restored { index: 1 }),
            leads(2, 3),
        ];
        assert!(!seen(&steps));
    }

    #[test]
    fn a_leader_without_a_committed_entry_is_seen() {
        let base = [leads(0, 1), appended(0, 0, 1), applied(0, 0, 1)];
        let empty = [&base[..], &[leads(1, 2)]].concat();
        assert!(seen(&empty));
        let another = [&base[..], &[appended(1, 0, 2), leads(1, 3)]].concat();
        assert!(seen(&another));
    }
}
