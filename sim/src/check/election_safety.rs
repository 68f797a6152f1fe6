//! At most one leader in a term (Raft, figure 3: Election Safety).

use super::Check;
use super::steps::{Invariant, Step, What};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<u64, usize>,
}

impl Invariant for ElectionSafety {
    fn check(&self) -> Check {
        Check::ElectionSafety
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let What::Leads { term, .. } = step.what else {
            return Ok(());
        };
        let leader = *self.leaders.entry(term).or_insert(step.member);
        if leader == step.member {
            return Ok(());
        }
        Err(format!(
            "term {term} has two leaders, members {} and {}",
            leader + 1,
            step.member + 1
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::steps::verdicts;
    use super::*;

    #[test]
    fn a_second_leader_of_a_term_is_seen() {
        let leads = |member, term| {
            (
                member,
                What::Leads {
                    term,
                    last_log_index: 0,
                },
            )
        };
        let steps = [
            leads(0, 1),
            leads(1, 2),
            leads(1, 2),
            leads(0, 2),
            leads(0, 3),
        ];
        let seen = verdicts(&mut ElectionSafety::default(), &steps);
        assert_eq!(seen, [true, true, true, false, true]);
    }
}
