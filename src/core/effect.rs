//! What must be done, decided by [`crate::node::Node`]. Each effect says what must be durable or
//! visible before it runs.

use crate::api::{LeaseId, LeaseInfo, MemberId, Outcome, StreamId, WatchResponse};
use crate::error::Error;
use crate::event::{Proposals, Seq};
use crate::v2;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// Something that the driver must do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Give these to the local raft engine (this member leads). Refusals come back as
    /// `Event::NotProposed`. Nothing need be durable.
    Propose { proposals: Proposals },
    /// Send these to the leader, at most once. A refusal (or a connection that could not be made)
    /// comes back as `Event::NotProposed`, a broken connection as `Event::ProposalsLost`, each
    /// proposal in at most one of them. Nothing need be durable.
    Forward { to: MemberId, proposals: Proposals },
    /// Have the local raft engine confirm with a quorum that this member still leads, and give the
    /// read index (`ReadConfirmed` or `ReadFailed`).
    ConfirmRead { round: u64 },
    /// Ask the leader for a read index (`ReadConfirmed` or `ReadFailed`). An answer to an earlier
    /// round must never be taken for this one.
    AskReadIndex { round: u64, leader: MemberId },
    /// The published view is fresh enough for read `seq`: run its query now. The member has
    /// applied the round's read index and the view shows it.
    ReadReady { seq: Seq, result: Result<(), Error> },
    /// Answer a write. Its entry is applied (and the log entry durable on a quorum) or its outcome
    /// is an error.
    Answer {
        seq: Seq,
        result: Result<Outcome, Error>,
    },
    /// Answer a keepalive or time-to-live of a local client.
    AnswerLease {
        seq: Seq,
        result: Result<LeaseInfo, Error>,
    },
    /// Answer another member's keepalive or time-to-live.
    AnswerPeer {
        ticket: u64,
        result: Result<LeaseInfo, Error>,
    },
    /// Ask the leader about a lease on behalf of local request `seq` (`Event::LeaseAnswer`, with
    /// an error if no answer can come).
    ForwardLease {
        seq: Seq,
        leader: MemberId,
        lease: LeaseId,
        keep_alive: bool,
    },
    /// Propose the revocation of these expired leases to the local raft engine, as
    /// [`Seq::NOBODY`], and only if this member leads `term` when the engine takes them: in any
    /// later term the leases have been extended, even if this member leads again. So never through
    /// `Event::Write`, never forwarded, never repeated; the node asks again if they are refused
    /// (`Event::RevokesRefused`), or if a lease is still there later. This member leads `term` and has heard from its quorum.
    RevokeExpired { term: u64, leases: Vec<LeaseId> },
    /// As `RevokeExpired`, for times-to-live of v2, named by their indexes. Those that are refused
    /// come back as `Event::RevokesRefused`, as leases of these ids.
    ExpireV2 { term: u64, ids: Vec<LeaseId> },
    /// Ask the store for its size (`Event::StoreSize`).
    MeasureStore,
    /// Queue a response on a watch stream. Its events are applied, and visible in the published
    /// view.
    WatchSend {
        stream: StreamId,
        response: WatchResponse,
    },
    /// End a watch stream with an error: its client asks for more than it takes. The hub has
    /// forgotten the stream.
    WatchEnd { stream: StreamId, error: Error },
    /// A watcher of v2 is registered: it is sent what comes after `index`, and the published view
    /// shows everything up to there.
    V2Watching { watcher: StreamId, index: u64 },
    /// Send an event to a watcher of v2. The published view shows it. The hub has forgotten the
    /// watcher if the event is its last.
    V2WatchSend {
        watcher: StreamId,
        event: Arc<v2::Event>,
        is_last: bool,
    },
    /// A snapshot replaced the state: the watcher has to look at the history and register anew. The
    /// hub has forgotten it.
    V2WatchEnd { watcher: StreamId },
    /// Read changes `[from, to]` from the published view for lagging watchers, off the loop
    /// (`Event::CaughtUp`). `to` is visible in the view.
    CatchUp { catch_up: u64, from: i64, to: i64 },
}

/// One line each: logs, transcripts and failure reports speak of effects in these words.
impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Propose { proposals } => write!(f, "propose {}", Seqs(proposals)),
            Effect::Forward { to, proposals } => {
                write!(f, "forward to {to}: {}", Seqs(proposals))
            }
            Effect::ConfirmRead { round } => write!(f, "confirm read round {round}"),
            Effect::AskReadIndex { round, leader } => {
                write!(f, "ask {leader} for read index, round {round}")
            }
            Effect::ReadReady {
                seq,
                result: Ok(()),
            } => write!(f, "read {seq} ready"),
            Effect::ReadReady {
                seq,
                result: Err(error),
            } => {
                write!(f, "read {seq} failed: {error}")
            }
            Effect::Answer { seq, result } => write!(f, "answer {seq}: {}", Shown(result)),
            Effect::AnswerLease { seq, result } => {
                write!(f, "answer lease {seq}: {}", Shown(result))
            }
            Effect::AnswerPeer { ticket, result } => {
                write!(f, "answer peer {ticket}: {}", Shown(result))
            }
            Effect::ForwardLease {
                seq,
                leader,
                lease,
                keep_alive,
            } => {
                let what = if *keep_alive {
                    "keep alive"
                } else {
                    "time to live"
                };
                write!(f, "forward {seq} to {leader}: {what} {lease}")
            }
            Effect::RevokeExpired { leases, .. } => match &leases[..] {
                [first, .., last] if leases.len() > 8 => {
                    let n = leases.len();
                    write!(f, "revoke expired, {n} of them: {first} to {last}")
                }
                _ => {
                    f.write_str("revoke expired:")?;
                    leases.iter().try_for_each(|lease| write!(f, " {lease}"))
                }
            },
            Effect::ExpireV2 { ids, .. } => {
                f.write_str("expire v2:")?;
                ids.iter().try_for_each(|id| write!(f, " {}", id.0))
            }
            Effect::MeasureStore => f.write_str("measure the store"),
            Effect::V2Watching { watcher, index } => {
                write!(f, "v2 watcher {} is registered at {index}", watcher.0)
            }
            Effect::V2WatchSend {
                watcher,
                event,
                is_last,
            } => {
                let (action, index) = (event.action.name(), event.index());
                let last = if *is_last { ", its last" } else { "" };
                write!(f, "v2 watcher {} <- {action} at {index}{last}", watcher.0)
            }
            Effect::V2WatchEnd { watcher } => write!(f, "v2 watcher {} ends", watcher.0),
            Effect::WatchSend { stream, response } => {
                write!(f, "stream {} <- {response}", stream.0)
            }
            Effect::WatchEnd { stream, error } => {
                write!(f, "stream {} ends: {error}", stream.0)
            }
            Effect::CatchUp { catch_up, from, to } => {
                write!(f, "catch up {catch_up}: revisions {from} to {to}")
            }
        }
    }
}

/// The requests that a batch of proposals carries; of many, the first and the last.
struct Seqs<'a>(&'a Proposals);

impl fmt::Display for Seqs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [first, .., last] = &self.0[..]
            && self.0.len() > 16
        {
            let n = self.0.len();
            return write!(f, "{n} of them: {} to {}", first.seq, last.seq);
        }
        for (i, proposal) in self.0.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { " " }, proposal.seq)?;
        }
        Ok(())
    }
}

/// A result in one line.
struct Shown<'a, T>(&'a Result<T, Error>);

impl<T: fmt::Display> fmt::Display for Shown<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(value) => value.fmt(f),
            Err(error) => write!(f, "error: {error}"),
        }
    }
}
