//! At most one leader in a term (Raft, figure 3: Election Safety).

use super::logs::Logs;
use super::steps::{Invariant, Step, What};
use super::{Check, Finding};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<u64, usize>,
}

impl Invariant for ElectionSafety {
    fn check(&self) -> Check {
        Check::ElectionSafety
    }

    fn step(&mut self, step: &Step, _: &Logs) -> Result<(), Finding> {
        let What::Leads { term, .. } = step.what else {
            return Ok(());
        };
        let leader = *self.leaders.entry(term).or_insert(step.member);
        if leader == step.member {
            return Ok(());
        }
        let (a, b) = (leader + 1, step.member + 1);
        let what = format!("term {term} has two leaders, members {a} and {b}");
        Err(Finding::new(what).member(leader).term(term))
    }
}

#[cfg(test)]
mod tests {
    use super::super::steps::verdicts;
    use super::*;

    fn leads(member: usize, term: u64) -> (usize, What) {
        let (node, last_log_index) = (member as u64, 0);
        let what = What::Leads {
            term,
            node,
            last_log_index,
        };
        (member, what)
    }

    #[test]
    fn leaders_of_different_terms_are_fine() {
        let steps = [leads(0, 1), leads(1, 2), leads(1, 2), leads(0, 3)];
        let seen = verdicts(&mut ElectionSafety::default(), &steps);
        assert_eq!(seen, [true; 4]);
    }

    #[test]
    fn a_second_leader_of_a_term_is_seen() {
        let at_once = [leads(0, 1), leads(1, 1)];
        let seen = verdicts(&mut ElectionSafety::default(), &at_once);
        assert_eq!(seen, [true, false]);
        let late = [leads(1, 2), leads(0, 3), leads(0, 2)];
        let seen = verdicts(&mut ElectionSafety::default(), &late);
        assert_eq!(seen, [true, true, false]);
    }
}
