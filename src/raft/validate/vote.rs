//! Requests for votes, and the handing over of leadership.

use super::{Known, Refusal, check_position};
use crate::types::Types;
use openraft::raft::{TransferLeaderRequest, VoteRequest};

/// A vote, or a pre-vote.
pub(crate) fn check(
    from: u64,
    request: &VoteRequest<Types>,
    known: &Known<'_>,
) -> Result<(), Refusal> {
    known.check_sender(from, &request.vote)?;
    if request.vote.is_committed() {
        return Err(Refusal::AlreadyElected);
    }
    // A candidate's term is a new one: its log has no entry of it.
    let before = request.vote.leader_id().term.saturating_sub(1);
    check_position(request.last_log_id.as_ref(), before)?;
    if known.is_outdated(&request.vote) {
        return Ok(());
    }
    known.check_stranger(from, &request.vote, request.last_log_id.as_ref())
}

pub(crate) fn check_transfer(
    from: u64,
    request: &TransferLeaderRequest<Types>,
    known: &Known<'_>,
) -> Result<(), Refusal> {
    let vote = request.from_leader();
    known.check_leader(from, vote)?;
    check_position(request.last_log_id(), vote.leader_id().term)?;
    if *request.to_node_id() == 0 {
        return Err(Refusal::NoName);
    }
    if known.is_outdated(vote) {
        return Ok(());
    }
    known.check_stranger(from, vote, request.last_log_id())
}
