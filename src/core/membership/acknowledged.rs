//! What members have acknowledged to their leader, and whether one of them has lost it.
//!
//! A member that comes back with an older disk, or with an empty one under its old id, has lost
//! entries that count as stored. Whoever relies on it may lose them: it may even vote for a leader
//! that lacks them. So every append tells its receiver how far it has acknowledged this leader's
//! log, and a member that does not have as much halts. (etcd's leader likewise tells a follower no
//! commit index beyond what it has acknowledged, and a follower that lacks it panics.)
//!
//! Only the leader knows, and only of its own time: a loss while the leadership changes is not
//! found out. There is no remedy but not to restore disks.

use crate::api::MemberId;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

/// What an operator does about a member that has lost entries.
const ADVICE: &str = "move its data-dir away, remove the member from the cluster (member remove), \
    add it again (member add), and start it with an empty data-dir";

/// A follower's answer to an append of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendReply {
    /// It has all entries before this index.
    Has(u64),
    /// Its log does not hold the entry before the first one that was sent, at `sent - 1`.
    Conflict { sent: u64 },
    /// It follows a newer leader.
    NewerTerm,
}

/// A leader, in its term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaderTerm {
    pub term: u64,
    pub leader: MemberId,
}

/// What this member, as the leader of some term, knows of the others.
#[derive(Debug, Default)]
pub struct AcknowledgedEntries {
    known: BTreeMap<MemberId, Acknowledged>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Acknowledged {
    to: LeaderTerm,
    /// The index after the last entry.
    next: u64,
}

impl AcknowledgedEntries {
    /// The index after the last entry that `member` has acknowledged to this member as the leader
    /// of a term.
    pub fn next_of(&self, member: MemberId, to: LeaderTerm) -> u64 {
        match self.known.get(&member) {
            Some(known) if known.to == to => known.next,
            _ => 0,
        }
    }

    /// Takes in an answer. False if it denies what was acknowledged before.
    pub fn note(&mut self, member: MemberId, to: LeaderTerm, reply: AppendReply) -> bool {
        let next = match reply {
            AppendReply::Has(next) => next,
            AppendReply::Conflict { sent } => return self.next_of(member, to) < sent,
            AppendReply::NewerTerm => return true,
        };
        let known = self.known.entry(member).or_default();
        if known.to != to {
            *known = Acknowledged { to, next: 0 };
        }
        known.next = known.next.max(next);
        true
    }
}

/// What a follower does with an append that says what it has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendCheck {
    Take,
    /// The log lacks entries. The message may be forged: ask the leader, on a connection that this
    /// member makes itself.
    AskLeader,
    /// The leader is being asked; the message is refused.
    IsAsked,
}

/// What becomes of a member that has asked its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskedLeader {
    /// The leader did not confirm what the message said: the message is refused.
    Refuse(String),
    /// The log has lost entries: this member must not go on.
    Halt(String),
}

/// What a follower's log shows when a message of a leader comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The index after the last entry.
    pub next: u64,
    /// Whether this member has voted in a newer term than the leader's. That leader may have cut
    /// the log. Look at it after `next`: a newer leader saves its vote first, and then cuts.
    pub follows_newer: bool,
}

impl LogEnd {
    fn lacks(self, acknowledged: u64) -> bool {
        acknowledged > self.next && !self.follows_newer
    }
}

/// Whether a follower has lost what it has acknowledged. One question is enough, however many
/// messages say the same.
#[derive(Debug, Default)]
pub struct LostEntries {
    is_asking: bool,
}

impl LostEntries {
    /// `acknowledged`: the index after the last entry that the leader's message says was
    /// acknowledged.
    pub fn on_append(&mut self, acknowledged: u64, log: LogEnd) -> AppendCheck {
        if !log.lacks(acknowledged) {
            return AppendCheck::Take;
        }
        match core::mem::replace(&mut self.is_asking, true) {
            false => AppendCheck::AskLeader,
            true => AppendCheck::IsAsked,
        }
    }

    /// The leader says that this member has acknowledged the entries before `confirmed`; the
    /// message said before `acknowledged`.
    pub fn on_confirmed(&mut self, acknowledged: u64, confirmed: u64, log: LogEnd) -> AskedLeader {
        self.is_asking = false;
        let LogEnd { next: held, .. } = log;
        if !log.lacks(confirmed) {
            return AskedLeader::Refuse(format!(
                "it says that this member has acknowledged the entries before {acknowledged}, the \
                 leader says {confirmed}, and this member has those before {held}"
            ));
        }
        AskedLeader::Halt(format!(
            "this member has acknowledged the entries up to {}, but its log ends before entry \
             {held}: its data-dir was emptied, or restored from an older copy; {ADVICE}",
            confirmed - 1
        ))
    }

    /// The leader did not answer.
    pub fn on_no_answer(&mut self) {
        self.is_asking = false;
    }
}
