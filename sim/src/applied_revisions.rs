//! What each revision holds, as the members applied it.
//!
//! Taken from the first member that reaches a revision, before any compaction can remove it: what
//! the healed cluster tells in the end is compared with this, and compacted history is judged too.

use crate::history::Revisions;
use detcd_core::query::{self, At};
use detcd_core::view::View;

#[derive(Debug, Default)]
pub struct AppliedRevisions {
    revisions: Revisions,
}

impl AppliedRevisions {
    /// A member's store, as `view` shows it, has reached `revision`. Of rows that are found rotten
    /// nothing is taken: another member tells of them, and this one will find them, too.
    pub fn take(&mut self, view: &dyn View, revision: i64) {
        let last = self.revisions.keys().next_back().copied();
        let mut from = last.map_or(2, |last| last + 1);
        // Rows may still be there that no client could ask for any more.
        let at = At {
            revision,
            compact_revision: At::EMPTY.compact_revision,
        };
        while from <= revision {
            let read = query::changes(view, at, from, revision);
            let Ok(read) = read else { return };
            let caught_up = read.expect("nothing counts as compacted here");
            for mut change in caught_up.changes {
                change.prev_kv = None;
                let changes = self.revisions.entry(change.kv.mod_revision).or_default();
                changes.push(change);
            }
            from = caught_up.through + 1;
        }
    }

    /// The last revision that any member reached.
    pub fn last(&self) -> i64 {
        self.revisions.keys().next_back().copied().unwrap_or(1)
    }

    /// Every revision up to `last`.
    pub fn until(&self, last: i64) -> Revisions {
        let revisions = self.revisions.range(..=last);
        revisions
            .map(|(at, changes)| (*at, changes.clone()))
            .collect()
    }
}
