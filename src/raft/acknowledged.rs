//! What the others have acknowledged to this member as their leader, shared by all its links.

use crate::types::{Types, Vote};
use detcd_core::api::MemberId;
use detcd_core::membership::{AcknowledgedEntries, AppendReply, LeaderTerm};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Clone, Default)]
pub(crate) struct Acknowledged(Arc<Mutex<AcknowledgedEntries>>);

impl Acknowledged {
    /// The index after the last entry that the peer has acknowledged to this leader.
    pub(crate) fn next_of(&self, peer: u64, vote: &Vote) -> u64 {
        self.state().next_of(MemberId(peer), leader_term(vote))
    }

    /// Takes in an answer. False if it denies what was acknowledged before.
    pub(crate) fn note(
        &self,
        peer: u64,
        request: &AppendEntriesRequest<Types>,
        response: &AppendEntriesResponse<Types>,
    ) -> bool {
        let sent = request.prev_log_id.map_or(0, |prev| prev.index() + 1);
        let reply = match response {
            AppendEntriesResponse::Success => AppendReply::Has(sent + request.entries.len() as u64),
            AppendEntriesResponse::PartialSuccess(matching) => {
                AppendReply::Has(matching.map_or(0, |matching| matching.index() + 1))
            }
            AppendEntriesResponse::Conflict => AppendReply::Conflict { sent },
            AppendEntriesResponse::HigherVote(_) => AppendReply::NewerTerm,
        };
        let to = leader_term(&request.vote);
        self.state().note(MemberId(peer), to, reply)
    }

    fn state(&self) -> MutexGuard<'_, AcknowledgedEntries> {
        self.0.lock().expect("nothing panics while it holds it")
    }
}

fn leader_term(vote: &Vote) -> LeaderTerm {
    let leader = vote.leader_id();
    LeaderTerm {
        term: leader.term,
        leader: MemberId(leader.voted_for),
    }
}
