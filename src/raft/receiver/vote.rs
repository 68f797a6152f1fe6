//! Requests for votes, and a leader that hands over.

use super::{Receiving, text};
use crate::message;
use crate::trace_steps;
use crate::types::log_id;
use crate::validate;
use bytes::Bytes;
use detcd_peer::Kind;
use detcd_storage::store::Store;

impl<S: Store> Receiving<S> {
    pub(super) async fn answer_vote(
        &self,
        from: u64,
        kind: Kind,
        body: Bytes,
    ) -> Result<Bytes, String> {
        let mut request = self.read(from, message::decode_vote_request(body))?;
        self.check(from, None, |known| {
            validate::vote::check(from, &request, known)
        })?;
        if detcd_core::mutant!(VoteOnSight) {
            request.last_log_id = Some(log_id(request.vote.leader_id.term, u64::MAX));
        }
        let candidate = *request.vote.leader_id();
        let response = match kind {
            Kind::PreVote => self.raft.pre_vote(request).await.map_err(text)?,
            _ => self.raft.vote(request).await.map_err(text)?,
        };
        if response.vote_granted && kind == Kind::Vote {
            trace_steps::granted(candidate.term, candidate.voted_for);
        }
        Ok(message::encode_vote_response(&response))
    }

    pub(super) async fn transfer_leader(&self, from: u64, body: Bytes) -> Result<Bytes, String> {
        let request = self.read(from, message::decode_transfer(body))?;
        self.check(from, None, |known| {
            validate::vote::check_transfer(from, &request, known)
        })?;
        let response = self.raft.handle_transfer_leader(request).await;
        Ok(message::encode_transfer_response(&response.map_err(text)?))
    }
}
