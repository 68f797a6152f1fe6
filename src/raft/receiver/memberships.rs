//! The memberships that leaders sent last, in entries that this member may have taken.
//!
//! The engine takes the last membership but one in its log for committed: a leader proposes a
//! membership only once the one before it is. An append that contradicts it would end the engine.

use crate::types::{Entry, LogId};
use openraft::EntryPayload;
use openraft::entry::RaftEntry;

/// More are never needed: two count, and an append of a forger adds as many as it likes.
const KEPT_MAX: usize = 16;

#[derive(Default)]
pub(crate) struct SentMemberships(Vec<LogId>);

impl SentMemberships {
    /// A leader sends these entries.
    pub(super) fn note(&mut self, entries: &[Entry]) {
        let is_membership = |entry: &&Entry| matches!(entry.payload, EntryPayload::Membership(_));
        let memberships = entries.iter().filter(is_membership);
        self.0.extend(memberships.map(RaftEntry::log_id));
        let surplus = self.0.len().saturating_sub(KEPT_MAX);
        self.0.drain(..surplus);
    }

    /// The last membership but one in the log; `newest` is another one that the engine knows.
    pub(super) fn settled(
        &self,
        newest: Option<LogId>,
        is_in_log: impl Fn(&LogId) -> bool,
    ) -> Option<LogId> {
        let known = self.0.iter().copied().chain(newest);
        let mut held: Vec<LogId> = known.filter(is_in_log).collect();
        held.sort_unstable_by_key(|at| at.index());
        held.dedup();
        held.iter().rev().nth(1).copied()
    }
}
