//! No two members apply different entries at one index (Raft, figure 3: State Machine Safety),
//! and members that applied equally far have equal rows.

use super::Finding;
use super::logs::Logs;
use super::steps::{Invariant, Step, What};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct StateMachineSafety {
    /// Who first applied each index, and the entry's term and hash.
    entries: BTreeMap<u64, (usize, u64, u64)>,
    states: BTreeMap<u64, (usize, u64)>,
}

impl Invariant for StateMachineSafety {
    fn step(&mut self, step: &Step, _: &Logs) -> Result<(), Finding> {
        match step.what {
            What::Applied { index, term, hash } => {
                let entry = (step.member, term, hash);
                let (member, first_term, first_hash) = *self.entries.entry(index).or_insert(entry);
                if (first_term, first_hash) != (term, hash) {
                    let what = format!(
                        "member {} applied another entry {index} (of term {first_term}) than \
                         member {} (of term {term})",
                        member + 1,
                        step.member + 1
                    );
                    return Err(Finding::new(what).member(member).index(index));
                }
            }
            What::State { index, hash } => {
                let (member, first) = *self.states.entry(index).or_insert((step.member, hash));
                if first != hash {
                    let (a, b) = (member + 1, step.member + 1);
                    let what = if a == b {
                        format!("after entry {index} member {a} has other rows than the last time")
                    } else {
                        format!("after entry {index} the rows of members {a} and {b} differ")
                    };
                    return Err(Finding::new(what).member(member).index(index));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::transcript::judge;

    #[test]
    fn another_entry_and_other_rows_at_an_index_are_seen() {
        judge::<StateMachineSafety>(
            "m1,2 applied 1@1#7; ! m3 applied 1@1#8; ! m3 applied 1@2#7
             m1,2 state 1 5; ! m3 state 1 6",
        );
    }
}
