//! What happened, told to [`crate::node::Node`].

use crate::api::{
    Alarm, KeyChange, LeaseId, LeaseInfo, MemberId, Outcome, StreamId, WatchId, WatchRequest,
};
use crate::auth::{AuthChange, AuthState, Principal};
use crate::command::Proposal;
use crate::error::Error;
use crate::v2;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// A request of a local client, named by the driver. Unique for the life of the process, and
/// seeded so that it does not repeat after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// Names no request: a proposal of the member's own, whose outcome nobody waits for.
    pub const NOBODY: Seq = Seq(0);
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Something that happened to this member.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time passed; nothing else did.
    Tick,

    /// A validated, encoded command of a local client (or of this member itself).
    Write {
        seq: Seq,
        command: Bytes,
        /// The most that it may add to the store, in bytes ([`crate::quota::growth`]).
        growth: u64,
    },
    /// The answer to `Effect::MeasureStore`.
    StoreSize {
        bytes: u64,
    },
    /// A local client wants a linearizable read: it is answered by `Effect::ReadReady`.
    Read {
        seq: Seq,
    },
    /// The client went away; nobody waits for `seq` any more.
    Forget {
        seq: Seq,
    },

    /// The raft engine refused these proposals before they entered any log, or they never left
    /// this member: they may safely be sent elsewhere. Told at most once for each time that a
    /// proposal was sent, because the proposal is then sent again.
    NotProposed {
        seqs: Vec<Seq>,
    },
    /// The raft engine refused to revoke these leases (`Effect::RevokeExpired`): nothing of it entered
    /// a log.
    RevokesRefused {
        leases: Vec<LeaseId>,
    },
    /// The connection that carried these proposals broke: their outcome is unknown.
    ProposalsLost {
        seqs: Vec<Seq>,
    },

    /// A read index for the reads of `round`: a linearizable read may run once the member has
    /// applied `index`.
    ReadConfirmed {
        round: u64,
        index: u64,
    },
    /// No read index could be had for `round` (no leader, no quorum, connection lost).
    ReadFailed {
        round: u64,
    },

    /// The raft engine knows entries up to `index` to be committed; how far apply lags behind it
    /// decides whether writes are admitted.
    Committed {
        index: u64,
    },
    /// Entries were applied and are visible in the published view.
    Applied {
        index: u64,
        term: u64,
        revision: i64,
        entries: Vec<Applied>,
    },
    /// The whole state was replaced by a snapshot: what is not in the log any more. Watchers
    /// resume from their own revision; pending outcomes stay unknown until their deadlines.
    Restored {
        index: u64,
        revision: i64,
        compact_revision: i64,
        leases: Vec<(LeaseId, i64)>,
        alarms: Vec<Alarm>,
        v2: V2State,
        auth: Arc<AuthState>,
    },

    /// The raft engine's view of the leadership, whenever it changes.
    Role {
        term: u64,
        leader: Option<MemberId>,
        is_leader: bool,
    },
    /// As leader, this member was acknowledged by a quorum at a time not earlier than `since`
    /// (local clock).
    QuorumAcked {
        since: crate::api::Millis,
    },

    /// Keep a lease alive (a local client, or forwarded by a follower, see [`Asker`]).
    KeepAlive {
        asker: Asker,
        lease: LeaseId,
    },
    /// What a lease has left. The keys are the asking member's business.
    TimeToLive {
        asker: Asker,
        lease: LeaseId,
    },
    /// The leader's answer to a forwarded keepalive or time-to-live.
    LeaseAnswer {
        seq: Seq,
        result: Result<LeaseInfo, Error>,
    },

    /// A client opened a watch stream.
    WatchOpen {
        stream: StreamId,
    },
    WatchRequest {
        stream: StreamId,
        request: WatchRequest,
        /// On whose behalf; `None` for a client that has not said who it is.
        principal: Option<Arc<Principal>>,
    },
    /// A client may not create the watcher that it asked for.
    WatchRefused {
        stream: StreamId,
        error: Error,
    },
    /// The client's connection took `n` responses.
    WatchCredit {
        stream: StreamId,
        n: u32,
    },
    WatchClose {
        stream: StreamId,
    },
    /// A client waits for events of v2: it is told by `Effect::V2Watching`.
    V2WatchOpen {
        watcher: StreamId,
        watch: v2::watch::Watch,
    },
    V2WatchClose {
        watcher: StreamId,
    },
    /// The answer to `Effect::CatchUp`: all changes with `from <= revision <= to`, in order, or
    /// the compaction revision if `from` is compacted.
    CaughtUp {
        catch_up: u64,
        result: Result<CaughtUp, CompactedAt>,
    },
}

/// Changes read for lagging watchers: everything in `[from, through]`.
#[derive(Clone, Debug)]
pub struct CaughtUp {
    /// The last revision that was read whole: less than what was asked for if a limit cut in.
    pub through: i64,
    pub changes: Vec<KeyChange>,
}

/// History before this revision is gone. What lives at the revision itself is kept, but of its
/// deletes none may be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactedAt(pub i64);

/// Who asked: a local request, or one of another member (answered through `Effect::AnswerPeer`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    pub changes: Vec<KeyChange>,
    pub lease: Option<LeaseChange>,
    /// The compaction revision, if this entry moved it.
    pub compacted: Option<i64>,
    /// What it did to the tree of v2.
    pub v2: Option<v2::Applied>,
    /// What it did to users, roles and tokens.
    pub auth: Option<AuthChange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    Granted { id: LeaseId, ttl: i64 },
    Revoked { id: LeaseId },
}

/// Where the tree of v2 stands: its index, and the times-to-live that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct V2State {
    pub index: u64,
    pub ttls: Vec<(u64, i64)>,
}

/// A watcher, named apart from its stream's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watcher {
    pub stream: StreamId,
    pub id: WatchId,
}

/// Proposals on their way to the log of the leader.
pub type Proposals = Vec<Proposal>;

/// One line each: logs, transcripts and failure reports speak of events in these words.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Tick => f.write_str("tick"),
            Event::Write { seq, command, .. } => {
                write!(f, "write {seq}, {} bytes", command.len())
            }
            Event::StoreSize { bytes } => write!(f, "the store has {bytes} bytes"),
            Event::Read { seq } => write!(f, "read {seq}"),
            Event::Forget { seq } => write!(f, "forget {seq}"),
            Event::NotProposed { seqs } => write!(f, "not proposed:{}", List(seqs)),
            Event::RevokesRefused { leases } => write!(f, "revokes refused:{}", List(leases)),
            Event::ProposalsLost { seqs } => write!(f, "proposals lost:{}", List(seqs)),
            Event::ReadConfirmed { round, index } => {
                write!(f, "read round {round} confirmed at index {index}")
            }
            Event::ReadFailed { round } => write!(f, "read round {round} failed"),
            Event::Committed { index } => write!(f, "committed {index}"),
            Event::Applied {
                index,
                term,
                revision,
                entries,
            } => {
                let n = entries.len();
                write!(
                    f,
                    "applied {n} entries up to {index}, term {term}, revision {revision}"
                )
            }
            Event::Restored {
                index,
                revision,
                compact_revision,
                leases,
                ..
            } => write!(
                f,
                "restored at {index}, revision {revision}, compacted {compact_revision}, {} leases",
                leases.len()
            ),
            Event::Role {
                term,
                is_leader: true,
                ..
            } => write!(f, "leads term {term}"),
            Event::Role {
                term,
                leader: Some(leader),
                ..
            } => {
                write!(f, "follows {leader} in term {term}")
            }
            Event::Role {
                term, leader: None, ..
            } => write!(f, "no leader in term {term}"),
            Event::QuorumAcked { since } => write!(f, "quorum acked since {}", since.0),
            Event::KeepAlive { asker, lease } => write!(f, "{asker} keeps {lease} alive"),
            Event::TimeToLive { asker, lease } => {
                write!(f, "{asker} asks for time to live of {lease}")
            }
            Event::LeaseAnswer {
                seq,
                result: Ok(info),
            } => write!(f, "lease answer {seq}: {info}"),
            Event::LeaseAnswer {
                seq,
                result: Err(error),
            } => {
                write!(f, "lease answer {seq}: error: {error}")
            }
            Event::WatchOpen { stream } => write!(f, "stream {} opens", stream.0),
            Event::WatchRequest {
                stream, request, ..
            } => write!(f, "stream {} -> {request}", stream.0),
            Event::WatchRefused { stream, error } => {
                write!(f, "stream {} is refused a watcher: {error}", stream.0)
            }
            Event::WatchCredit { stream, n } => write!(f, "stream {} took {n}", stream.0),
            Event::WatchClose { stream } => write!(f, "stream {} closes", stream.0),
            Event::V2WatchOpen { watcher, watch } => write!(
                f,
                "v2 watcher {} of {} from {}",
                watcher.0,
                watch.path.escape_ascii(),
                watch.since
            ),
            Event::V2WatchClose { watcher } => write!(f, "v2 watcher {} closes", watcher.0),
            Event::CaughtUp {
                catch_up,
                result: Ok(read),
            } => write!(
                f,
                "caught up {catch_up}: {} changes through revision {}",
                read.changes.len(),
                read.through
            ),
            Event::CaughtUp {
                catch_up,
                result: Err(CompactedAt(revision)),
            } => {
                write!(f, "caught up {catch_up}: compacted at {revision}")
            }
        }
    }
}

struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|item| write!(f, " {item}"))
    }
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asker::Local(seq) => write!(f, "{seq}"),
            Asker::Peer(ticket) => write!(f, "peer {ticket}"),
        }
    }
}
