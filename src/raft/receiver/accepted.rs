//! What this member has taken from leaders.
//!
//! Each message is checked against what the ones before it did to the log. The engine has done that
//! once it has answered, so as a rule nothing is left to wait for when the next message comes; if
//! something is, the engine is asked, which works on messages in order.

use super::{Receiving, text};
use crate::types::{LogId, Vote, term_of};
use detcd_storage::store::Store;
use std::collections::BTreeMap;

/// The last entry that a leader sent, and that this member took into its log.
#[derive(Clone, Copy)]
pub(crate) struct Accepted {
    pub(super) vote: Vote,
    pub(super) last: LogId,
}

/// Held while a message is checked and given to the engine.
#[derive(Default)]
pub(crate) struct Taken {
    /// From the leader that was followed last.
    pub(super) accepted: Option<Accepted>,
    /// What the engine was given and is not known to have taken up: the leader, and the last entry
    /// that its message shows.
    given: BTreeMap<u64, (Vote, Option<LogId>)>,
    count: u64,
}

impl Taken {
    /// Whether the engine has taken up all that it was given.
    pub(super) fn is_settled(&self) -> bool {
        self.given.is_empty()
    }

    /// Notes what the engine was given; gives the number by which [`Receiving::note_answered`]
    /// knows it.
    pub(super) fn give(&mut self, vote: Vote, last: Option<LogId>) -> u64 {
        self.count += 1;
        self.given.insert(self.count, (vote, last));
        self.count
    }
}

impl<S: Store> Receiving<S> {
    /// Waits until the engine has taken up what it was given, and notes what is now in the log.
    pub(super) async fn settle(&self, taken: &mut Taken) -> Result<(), String> {
        if taken.is_settled() {
            return Ok(());
        }
        self.raft.with_raft_state(|_| ()).await.map_err(text)?;
        for (vote, last) in std::mem::take(&mut taken.given).into_values() {
            self.note(taken, vote, last);
        }
        Ok(())
    }

    /// The engine has answered: notes what is now in the log. If another message is just being
    /// checked, that is left to the next one.
    pub(super) fn note_answered(&self, number: u64) {
        let Ok(mut taken) = self.taken.try_lock() else {
            return;
        };
        if let Some((vote, last)) = taken.given.remove(&number) {
            self.note(&mut taken, vote, last);
        }
    }

    fn note(&self, taken: &mut Taken, vote: Vote, last: Option<LogId>) {
        let Some(last) = last else {
            return;
        };
        let is_followed = self.log.vote() == Some(vote);
        let is_held = self.log.term_at(last.index()) == Some(term_of(&last));
        let is_known = |known: Accepted| known.vote == vote && known.last >= last;
        if is_followed && is_held && !taken.accepted.is_some_and(is_known) {
            taken.accepted = Some(Accepted { vote, last });
        }
    }
}
