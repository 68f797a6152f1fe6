//! Entries of equal index and term are equal (Raft, figure 3: Log Matching; a leader makes at most
//! one entry of an index in its term, and copies keep it).

use super::Check;
use super::steps::{Invariant, Step, What};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct LogMatching {
    entries: BTreeMap<(u64, u64), (usize, u64)>,
}

impl Invariant for LogMatching {
    fn check(&self) -> Check {
        Check::LogMatching
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let What::Appended { index, term, hash } = step.what else {
            return Ok(());
        };
        let (member, first) = *self
            .entries
            .entry((term, index))
            .or_insert((step.member, hash));
        if first == hash {
            return Ok(());
        }
        let (a, b) = (member + 1, step.member + 1);
        Err(format!(
            "entry {index} of term {term} differs between members {a} and {b}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::steps::verdicts;
    use super::*;

    #[test]
    fn entries_of_one_index_and_term_that_differ_are_seen() {
        let appended = |member, index, term, hash| (member, What::Appended { index, term, hash });
        let steps = [
            appended(0, 5, 1, 7),
            appended(1, 5, 1, 7),
            appended(1, 5, 2, 8),
            appended(2, 5, 1, 8),
        ];
        let seen = verdicts(&mut LogMatching::default(), &steps);
        assert_eq!(seen, [true, true, true, false]);
    }
}
