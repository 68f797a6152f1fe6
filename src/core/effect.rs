//! What must be done, decided by [`crate::node::Node`]. Each effect says what must be durable or
//! visible before it runs.

use crate::api::{LeaseId, LeaseInfo, MemberId, Outcome, StreamId, WatchResponse};
use crate::error::Error;
use crate::event::{Proposals, Seq};

/// Something that the driver must do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Give these to the local raft engine (this member leads). Refusals come back as
    /// `Event::NotProposed`. Nothing need be durable.
    Propose { proposals: Proposals },
    /// Send these to the leader. A refusal comes back as `Event::NotProposed`, a broken
    /// connection as `Event::ProposalsLost`. Nothing need be durable.
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
    Answer { seq: Seq, result: Result<Outcome, Error> },
    /// Answer a keepalive or time-to-live of a local client.
    AnswerLease { seq: Seq, result: Result<LeaseInfo, Error> },
    /// Answer another member's keepalive or time-to-live.
    AnswerPeer { ticket: u64, result: Result<LeaseInfo, Error> },
    /// Ask the leader about a lease on behalf of local request `seq` (`Event::LeaseAnswer`).
    ForwardLease { seq: Seq, leader: MemberId, lease: LeaseId, keep_alive: bool },
    /// Propose the revocation of an expired lease (as `seq`, which the node chose). This member
    /// leads and has heard from its quorum.
    RevokeExpired { lease: LeaseId },
    /// Queue a response on a watch stream. Its events are applied, and visible in the published
    /// view.
    WatchSend { stream: StreamId, response: WatchResponse },
    /// Read changes `[from, to]` from the published view for lagging watchers, off the loop
    /// (`Event::CaughtUp`). `to` is visible in the view.
    CatchUp { catch_up: u64, from: i64, to: i64 },
}
