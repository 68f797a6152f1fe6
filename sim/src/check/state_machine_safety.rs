//! No two members apply different entries at one index (Raft, figure 3: State Machine Safety),
//! and members that applied equally far have equal rows.

use super::Check;
use super::steps::{Invariant, Step, What};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct StateMachineSafety {
    /// Who first applied each index, and the entry's term and hash.
    entries: BTreeMap<u64, (usize, u64, u64)>,
    states: BTreeMap<u64, (usize, u64)>,
}

impl Invariant for StateMachineSafety {
    fn check(&self) -> Check {
        Check::StateMachineSafety
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step.what {
            What::Applied { index, term, hash } => {
                let entry = (step.member, term, hash);
                let (member, first_term, first_hash) = *self.entries.entry(index).or_insert(entry);
                if (first_term, first_hash) != (term, hash) {
                    return Err(format!(
                        "member {} applied another entry {index} (of term {first_term}) than \
                         member {} (of term {term})",
                        member + 1,
                        step.member + 1
                    ));
                }
            }
            What::State { index, hash } => {
                let (member, first) = *self.states.entry(index).or_insert((step.member, hash));
                if first != hash {
                    let (a, b) = (member + 1, step.member + 1);
                    return Err(format!(
                        "after entry {index} the rows of members {a} and {b} differ"
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
    fn another_entry_and_other_rows_at_an_index_are_seen() {
        let applied = |member, index, term, hash| (member, What::Applied { index, term, hash });
        let state = |member, index, hash| (member, What::State { index, hash });
        let steps = [
            applied(0, 1, 1, 7),
            applied(1, 1, 1, 7),
            applied(2, 1, 1, 8),
            applied(2, 1, 2, 7),
            state(0, 1, 5),
            state(1, 1, 5),
            state(2, 1, 6),
        ];
        let seen = verdicts(&mut StateMachineSafety::default(), &steps);
        assert_eq!(seen, [true, true, false, false, true, true, false]);
    }
}
