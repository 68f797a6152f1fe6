//! At most one leader in a term (Raft, figure 3: Election Safety).

use super::Finding;
use super::logs::Logs;
use super::steps::{Invariant, Step, What};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<u64, usize>,
}

impl Invariant for ElectionSafety {
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
    use super::*;
    use crate::check::transcript::judge;

    #[test]
    fn leaders_of_different_terms_are_fine() {
        judge::<ElectionSafety>("m1 leads 1; m2 leads 2; m2 leads 2; m1 leads 3");
    }

    #[test]
    fn a_second_leader_of_a_term_is_seen() {
        judge::<ElectionSafety>(
            "m1 leads 1; ! m2 leads 1

             m2 leads 2; m1 leads 3; ! m1 leads 2",
        );
    }
}
