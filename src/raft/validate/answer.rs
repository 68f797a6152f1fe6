//! Answers of other members. They come on this member's own connections, but a damaged member can
//! send anything.

use super::{Refusal, check_leap, check_position};
use crate::types::{LogId, Types, Vote};
use openraft::entry::RaftEntry;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};

pub(crate) fn check_append(
    request: &AppendEntriesRequest<Types>,
    response: &AppendEntriesResponse<Types>,
) -> Result<(), Refusal> {
    match response {
        AppendEntriesResponse::Success | AppendEntriesResponse::Conflict => Ok(()),
        AppendEntriesResponse::HigherVote(vote) => check_vote(&request.vote, vote),
        AppendEntriesResponse::PartialSuccess(matching) => {
            let last = request.entries.last().map(RaftEntry::log_id);
            let last: Option<LogId> = last.max(request.prev_log_id);
            match *matching <= last {
                true => Ok(()),
                false => Err(Refusal::Answer(format!(
                    "it has {matching:?} of entries up to {last:?}"
                ))),
            }
        }
    }
}

/// The answer to a vote, or to a pre-vote.
pub(crate) fn check_voted(
    request: &VoteRequest<Types>,
    response: &VoteResponse<Types>,
) -> Result<(), Refusal> {
    check_vote(&request.vote, &response.vote)?;
    check_position(
        response.last_log_id.as_ref(),
        response.vote.leader_id().term,
    )
}

/// A vote that another member holds against this member's `own`.
pub(crate) fn check_vote(own: &Vote, vote: &Vote) -> Result<(), Refusal> {
    check_leap(vote.leader_id().term, own.leader_id().term, false)
}
