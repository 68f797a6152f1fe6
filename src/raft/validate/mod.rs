//! Whether a message of another member may be acted on.
//!
//! Whoever reaches the peer port can send any bytes, and a bug or a damaged member can, too; the
//! engine takes for granted that its peers follow the protocol, and ends the member where they do
//! not. So each message is decoded whole, bounded, and held against what this member knows, before
//! the engine sees it: pure functions of the message and [`Known`], one file for each kind.
//!
//! No message of a member that follows the protocol may be refused here, whatever was lost, late or
//! restored in between: such a refusal would keep a cluster from going on. The laws that are checked
//! are therefore those that hold between any two members of one history:
//!
//! - Whoever sends as leader or candidate names itself in the vote.
//! - An entry's term is at most the term of the leader that sends it, and less than the term of a
//!   candidate that has it.
//! - What one member knows to be committed, no later leader contradicts; and no leader contradicts
//!   what it sent before.
//! - Terms grow by one with each election, and indexes by one with each entry, so that neither
//!   leaps beyond [`TERM_LEAP_MAX`] and [`INDEX_LEAP_MAX`].
//! - A sender that this member does not know was added by entries that this member lacks.

pub(crate) mod answer;
pub(crate) mod append;
pub(crate) mod entry;
pub(crate) mod snapshot;
pub(crate) mod vote;

#[cfg(test)]
mod tests;

use crate::types::{LogId, Vote, term_of};
use detcd_core::membership::BadMembership;
use detcd_core::proposal;
use std::cmp::Ordering;
use thiserror::Error;

/// No cluster reaches this term. Terms below it leave room for elections without end.
pub(crate) const TERM_MAX: u64 = 1 << 62;
/// How far a term may be ahead of this member's: an election each 100 ms takes 13 years for it.
///
/// Whoever forges messages can make a term leap so far once for each message, and each costs a
/// synced vote: it takes 2^30 of them until [`TERM_MAX`] ends all elections.
pub(crate) const TERM_LEAP_MAX: u64 = 1 << 32;
/// No log reaches this index.
pub(crate) const INDEX_MAX: u64 = 1 << 62;
/// How far a snapshot may be ahead of this member's log: 100,000 entries a second take 89 years for
/// it.
pub(crate) const INDEX_LEAP_MAX: u64 = 1 << 48;

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("it comes in this member's own name")]
    OwnName,
    #[error("its sender has no id")]
    NoName,
    #[error("member {from:x} sends it in the name of member {named:x}")]
    OtherName { from: u64, named: u64 },
    #[error("member {0:x} is not known, and shows no more of the log than this member has")]
    Stranger(u64),
    #[error("it is sent as by a leader that was not elected")]
    NotElected,
    #[error("it asks for a vote as by a leader that was elected")]
    AlreadyElected,
    #[error("term {term} is too far beyond this member's term {own}")]
    TermLeap { term: u64, own: u64 },
    #[error("index {0} is beyond any log")]
    Index(u64),
    #[error("index {index} is too far beyond the end of this member's log at {last}")]
    IndexLeap { index: u64, last: u64 },
    #[error("entry {index} of term {term} in a message of term {sender}")]
    EntryTerm { index: u64, term: u64, sender: u64 },
    #[error("entry {index} is of term {term}, the one before it of term {before}")]
    TermsDecrease { index: u64, term: u64, before: u64 },
    #[error("entry {index} of term {term} contradicts what is committed, or what was sent before")]
    Contradicts { index: u64, term: u64 },
    #[error("entry {index} of term {term}: {problem}")]
    Command {
        index: u64,
        term: u64,
        problem: proposal::Refusal,
    },
    #[error("a membership that cannot be: {0}")]
    Membership(BadMembership),
    #[error("a snapshot that cannot be: {0}")]
    Snapshot(String),
    #[error("an answer that cannot be: {0}")]
    Answer(String),
}

/// What this member knows at the moment when a message comes.
pub(crate) struct Known<'a> {
    pub(crate) id: u64,
    /// The newest vote that this member knows.
    pub(crate) vote: Option<Vote>,
    /// The last entry of the log.
    pub(crate) last: Option<LogId>,
    /// The last entry that is known here to be committed.
    pub(crate) committed: Option<LogId>,
    /// The last entry that this member has taken from the leader of `vote`.
    pub(crate) accepted: Option<LogId>,
    /// Whether there is a membership: this member was founded, or has heard from a leader.
    pub(crate) is_founded: bool,
    /// Whether somebody is, or was, a member.
    pub(crate) is_member: &'a dyn Fn(u64) -> bool,
    /// The term of an entry, as far as the log still holds it.
    pub(crate) term_at: &'a dyn Fn(u64) -> Option<u64>,
}

impl Known<'_> {
    /// Whether the engine will only answer this vote with its own newer one.
    pub(crate) fn is_outdated(&self, vote: &Vote) -> bool {
        self.vote.is_some_and(|own| !is_followable(vote, &own))
    }

    /// The sender is another member and names itself in its vote, which is not of a far future.
    fn check_sender(&self, from: u64, vote: &Vote) -> Result<(), Refusal> {
        let named = vote.leader_id().voted_for;
        if from == self.id || named == self.id {
            return Err(Refusal::OwnName);
        }
        if from == 0 {
            return Err(Refusal::NoName);
        }
        if named != from {
            return Err(Refusal::OtherName { from, named });
        }
        self.check_term(vote.leader_id().term)
    }

    /// As [`Known::check_sender`], of a leader.
    fn check_leader(&self, from: u64, vote: &Vote) -> Result<(), Refusal> {
        self.check_sender(from, vote)?;
        match vote.is_committed() {
            true => Ok(()),
            false => Err(Refusal::NotElected),
        }
    }

    /// A member that has yet to hear of its cluster knows nothing of its terms.
    fn check_term(&self, term: u64) -> Result<(), Refusal> {
        let own = self.vote.map_or(0, |vote| vote.leader_id().term);
        let is_new = own == 0 && !self.is_founded;
        check_leap(term, own, is_new)
    }

    /// Somebody is a member, or the leader or candidate that this member voted for, or `shows`
    /// entries that this member lacks: those may have added it.
    ///
    /// A member is added by an entry that is committed before it leads or stands for election. Who
    /// lacks that entry has a log that ends before it.
    fn check_stranger(&self, from: u64, vote: &Vote, shows: Option<&LogId>) -> Result<(), Refusal> {
        let is_followed = self
            .vote
            .is_some_and(|own| own.leader_id() == vote.leader_id());
        let shows_more = shows > self.last.as_ref();
        if !self.is_founded || is_followed || shows_more || (self.is_member)(from) {
            return Ok(());
        }
        Err(Refusal::Stranger(from))
    }

    /// An entry of a leader's log agrees with what is committed here, and with what was taken from
    /// the same leader: it only ever appends.
    fn check_history(&self, entry: &LogId, vote: &Vote) -> Result<(), Refusal> {
        let is_same = self.vote.as_ref() == Some(vote);
        let accepted = self.accepted.as_ref().filter(|_| is_same);
        let (index, term) = (entry.index(), term_of(entry));
        for settled in self.committed.iter().chain(accepted) {
            let agrees = match index <= settled.index() {
                true => {
                    term <= term_of(settled) && (self.term_at)(index).is_none_or(|own| own == term)
                }
                false => term >= term_of(settled),
            };
            if !agrees {
                return Err(Refusal::Contradicts { index, term });
            }
        }
        Ok(())
    }
}

/// Whether a member whose vote is `own` follows `vote`. Votes of one term for two members are not
/// ordered: neither follows the other.
pub(crate) fn is_followable(vote: &Vote, own: &Vote) -> bool {
    matches!(
        vote.partial_cmp(own),
        Some(Ordering::Equal | Ordering::Greater)
    )
}

/// Whether a term may follow `own`; somebody `new` knows no term yet.
fn check_leap(term: u64, own: u64, is_new: bool) -> Result<(), Refusal> {
    let leap_max = match is_new {
        true => TERM_MAX,
        false => own.saturating_add(TERM_LEAP_MAX).min(TERM_MAX),
    };
    match term <= leap_max {
        true => Ok(()),
        false => Err(Refusal::TermLeap { term, own }),
    }
}

/// A position in the log of a sender whose term is `sender`.
fn check_position(position: Option<&LogId>, sender: u64) -> Result<(), Refusal> {
    let Some(position) = position else {
        return Ok(());
    };
    let (index, term) = (position.index(), term_of(position));
    if index > INDEX_MAX {
        return Err(Refusal::Index(index));
    }
    if term > sender {
        return Err(Refusal::EntryTerm {
            index,
            term,
            sender,
        });
    }
    Ok(())
}
