//! A leader has every entry that was committed before its term (Raft, figure 3: Leader
//! Completeness), as far as can be seen from outside: its log reaches beyond everything that
//! members applied before it was elected.

use super::Check;
use super::steps::{Invariant, Step, What};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct LeaderCompleteness {
    /// The last entry known to be committed, and its term.
    applied: Option<(u64, u64)>,
    leads: BTreeMap<usize, u64>,
}

impl Invariant for LeaderCompleteness {
    fn check(&self) -> Check {
        Check::LeaderCompleteness
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step.what {
            What::Applied { index, term, .. } => {
                self.applied = self.applied.max(Some((index, term)));
            }
            What::Leads {
                term,
                last_log_index,
            } => {
                let first_told = self.leads.insert(step.member, term) != Some(term);
                if let Some((index, committed_in)) = self.applied
                    && first_told
                    && committed_in < term
                    && last_log_index < index
                {
                    return Err(format!(
                        "the leader of term {term} has a log that ends at {last_log_index}, but \
                         entry {index} of term {committed_in} was committed"
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
    fn a_leader_without_a_committed_entry_is_seen() {
        let leads = |member, term, last_log_index| {
            (
                member,
                What::Leads {
                    term,
                    last_log_index,
                },
            )
        };
        let applied = (
            1,
            What::Applied {
                index: 9,
                term: 1,
                hash: 0,
            },
        );
        let steps = [
            leads(0, 1, 3),
            applied,
            leads(0, 1, 4),
            leads(2, 2, 9),
            leads(1, 3, 8),
        ];
        let seen = verdicts(&mut LeaderCompleteness::default(), &steps);
        assert_eq!(seen, [true, true, true, true, false]);
    }
}
