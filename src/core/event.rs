//! What happened, told to [`crate::node::Node`].

use crate::api::{
    LeaseId, LeaseInfo, MemberId, Outcome, Change, StreamId, WatchId, WatchRequest,
};
use crate::command::Proposal;
use crate::error::Error;
use alloc::vec::Vec;
use bytes::Bytes;

/// A request of a local client, named by the driver. Unique for the life of the process, and
/// seeded so that it does not repeat after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// Something that happened to this member.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time passed; nothing else did.
    Tick,

    /// A validated, encoded command of a local client (or of this member itself).
    Write { seq: Seq, command: Bytes },
    /// A local client wants a linearizable read: it is answered by `Effect::ReadReady`.
    Read { seq: Seq },
    /// The client went away; nobody waits for `seq` any more.
    Forget { seq: Seq },

    /// The raft engine refused these proposals before they entered any log: they may safely be
    /// sent elsewhere.
    NotProposed { seqs: Vec<Seq> },
    /// The connection that carried these proposals broke: their outcome is unknown.
    ProposalsLost { seqs: Vec<Seq> },

    /// A read index for the reads of `round`: a linearizable read may run once the member has
    /// applied `index`.
    ReadConfirmed { round: u64, index: u64 },
    /// No read index could be had for `round` (no leader, no quorum, connection lost).
    ReadFailed { round: u64 },

    /// Entries were applied and are visible in the published view.
    Applied { index: u64, term: u64, revision: i64, entries: Vec<Applied> },
    /// The whole state was replaced by a snapshot: what is not in the log any more. Watchers
    /// resume from their own revision; pending outcomes stay unknown until their deadlines.
    Restored { index: u64, revision: i64, compact_revision: i64, leases: Vec<(LeaseId, i64)> },

    /// The raft engine's view of the leadership, whenever it changes.
    Role { term: u64, leader: Option<MemberId>, is_leader: bool },
    /// As leader, this member was acknowledged by a quorum at a time not earlier than `since`
    /// (local clock).
    QuorumAcked { since: crate::api::Millis },

    /// Keep a lease alive (a local client, or forwarded by a follower, see [`Asker`]).
    KeepAlive { asker: Asker, lease: LeaseId },
    /// What a lease has left. The keys are the asking member's business.
    TimeToLive { asker: Asker, lease: LeaseId },
    /// The leader's answer to a forwarded keepalive or time-to-live.
    LeaseAnswer { seq: Seq, result: Result<LeaseInfo, Error> },

    /// A client opened a watch stream.
    WatchOpen { stream: StreamId },
    WatchRequest { stream: StreamId, request: WatchRequest },
    /// The client's connection took `n` responses.
    WatchCredit { stream: StreamId, n: u32 },
    WatchClose { stream: StreamId },
    /// The answer to `Effect::CatchUp`: all changes with `from <= revision <= to`, in order, or
    /// the compaction revision if `from` is compacted.
    CaughtUp { catch_up: u64, result: Result<CaughtUp, CompactedAt> },
}

/// Changes read for lagging watchers: everything in `[from, through]`.
#[derive(Clone, Debug)]
pub struct CaughtUp {
    /// The last revision that was read whole: less than what was asked for if a limit cut in.
    pub through: i64,
    pub changes: Vec<Change>,
}

/// History up to and including this revision is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactedAt(pub i64);

/// Who asked: a local request, or one of another member (answered through `Effect::AnswerPeer`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    Local(Seq),
    /// An opaque ticket of the driver.
    Peer(u64),
}

/// One applied entry, as far as the shell cares.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Whose request it was; `None` for entries that nobody proposed.
    pub origin: Option<(MemberId, Seq)>,
    pub outcome: Outcome,
    /// The changes of this entry: all of one main revision, in sub order.
    pub changes: Vec<Change>,
    pub lease: Option<LeaseChange>,
    /// The compaction revision, if this entry moved it.
    pub compacted: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    Granted { id: LeaseId, ttl: i64 },
    Revoked { id: LeaseId },
}

/// A watcher, named apart from its stream's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watcher {
    pub stream: StreamId,
    pub id: WatchId,
}

/// Proposals on their way to the log of the leader.
pub type Proposals = Vec<Proposal>;
