//! Entries and heartbeats of a leader, and what this member has acknowledged of them.

use super::{Receiving, text};
use crate::message;
use crate::steps;
use crate::types::{LogId, Types, Vote, term_of};
use crate::validate;
use bytes::Bytes;
use detcd_core::membership::{AppendCheck, AskedLeader, LogEnd, LostEntries};
use detcd_peer::Kind;
use detcd_storage::store::Store;
use futures::poll;
use openraft::entry::RaftEntry;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use std::pin::pin;
use std::sync::MutexGuard;
use std::task::Poll;
use tracing::error;

/// The last entry that a leader sent, and that this member took into its log.
#[derive(Clone, Copy)]
pub(crate) struct Accepted {
    pub(super) vote: Vote,
    pub(super) last: LogId,
}

impl<S: Store> Receiving<S> {
    pub(super) async fn append(&self, from: u64, body: Bytes) -> Result<Bytes, String> {
        let (mut request, acknowledged) = self.read(from, message::decode_append(body))?;
        let vote = request.vote;
        let mut accepted = self.accepted.lock().await;
        self.check(from, *accepted, |known| {
            validate::append::check(from, &request, acknowledged, known)
        })?;
        let log = self.log_end(&vote);
        let checked = self.lost_entries().on_append(acknowledged, log);
        match checked {
            AppendCheck::Take => {}
            AppendCheck::AskLeader => {
                drop(accepted);
                return Err(self.ask_acknowledged(&vote, acknowledged).await);
            }
            AppendCheck::IsAsked => {
                return Err(
                    "the leader is being asked what this member has acknowledged".to_owned(),
                );
            }
        }
        if !log.follows_newer {
            self.liveness.heard_from(vote.leader_id().voted_for);
        }
        let last = request.entries.last().map(RaftEntry::log_id);
        let last = last.or(request.prev_log_id);
        request.leader_commit = self.shown_commit(&request);
        self.sent_memberships().note(&request.entries);
        let mut response = pin!(self.raft.append_entries(request));
        let early = poll!(response.as_mut());
        self.note_accepted(&mut accepted, &vote, last).await?;
        drop(accepted);
        let response = match early {
            Poll::Ready(response) => response,
            Poll::Pending => response.await,
        };
        let response = response.map_err(text)?;
        tell_acked(&response, last);
        Ok(message::encode_append_response(&response))
    }

    /// What the leader says to be committed, as far as its message shows it in this member's log:
    /// Raft's own rule. The engine would remember what lies beyond, and believe it of other entries.
    fn shown_commit(&self, request: &AppendEntriesRequest<Types>) -> Option<LogId> {
        let commit = request.leader_commit?;
        let holds = |entry: &LogId| {
            let term = self.log.term_at(entry.index());
            // What was purged was committed.
            entry.index() < self.log.next_index() && term.is_none_or(|term| term == term_of(entry))
        };
        let is_outdated = self
            .vote()
            .is_some_and(|own| !validate::is_followable(&request.vote, &own));
        let is_matched = request.prev_log_id.as_ref().is_none_or(holds);
        if is_outdated || !is_matched {
            return None;
        }
        let last = request.entries.last().map(RaftEntry::log_id);
        let last = last.or(request.prev_log_id)?;
        let is_sent = request
            .entries
            .first()
            .is_some_and(|first| commit.index() >= first.index());
        match commit.index() > last.index() {
            true => Some(last),
            false => (is_sent || holds(&commit)).then_some(commit),
        }
    }

    /// Waits until the engine has taken up what it was given, and notes what is now in the log.
    pub(super) async fn note_accepted(
        &self,
        accepted: &mut Option<Accepted>,
        vote: &Vote,
        last: Option<LogId>,
    ) -> Result<(), String> {
        self.raft.with_raft_state(|_| ()).await.map_err(text)?;
        let Some(last) = last else {
            return Ok(());
        };
        let is_followed = self.log.vote() == Some(*vote);
        let is_held = self.log.term_at(last.index()) == Some(term_of(&last));
        let is_known = |known: Accepted| known.vote == *vote && known.last >= last;
        if is_followed && is_held && !accepted.is_some_and(is_known) {
            *accepted = Some(Accepted { vote: *vote, last });
        }
        Ok(())
    }

    /// Asks the leader what this member has acknowledged, and halts if the log lacks it; gives the
    /// answer to the message that said so.
    async fn ask_acknowledged(&self, vote: &Vote, acknowledged: u64) -> String {
        let leader = vote.leader_id().voted_for;
        let question = message::encode_vote(vote);
        let call = self
            .transport
            .call(leader, Kind::Acknowledged, question, self.timeout);
        let answer = match call.await {
            Ok(answer) => self.read(leader, message::decode_acknowledged(answer)),
            Err(error) => Err(error.to_string()),
        };
        let confirmed = match answer {
            Ok(confirmed) => confirmed,
            Err(reason) => {
                self.lost_entries().on_no_answer();
                return reason;
            }
        };
        let log = self.log_end(vote);
        let asked = self
            .lost_entries()
            .on_confirmed(acknowledged, confirmed, log);
        match asked {
            AskedLeader::Refuse(reason) => self.refuse(leader, &reason),
            AskedLeader::Halt(reason) => {
                error!("{reason}");
                self.fatal.send_replace(Some(reason.clone()));
                reason
            }
        }
    }

    fn log_end(&self, vote: &Vote) -> LogEnd {
        // In this order: a leader that came later saves its vote first, and then cuts the log.
        let next = self.log.next_index();
        LogEnd {
            next,
            follows_newer: self.log.vote().is_some_and(|own| own > *vote),
        }
    }

    fn lost_entries(&self) -> MutexGuard<'_, LostEntries> {
        let lost_entries = self.lost_entries.lock();
        lost_entries.expect("nothing panics while it holds it")
    }
}

/// What an answer says that this member has; `last` is the last entry of the request.
fn tell_acked(response: &AppendEntriesResponse<Types>, last: Option<LogId>) {
    let acked = match response {
        AppendEntriesResponse::Success => last,
        AppendEntriesResponse::PartialSuccess(matching) => *matching,
        AppendEntriesResponse::Conflict | AppendEntriesResponse::HigherVote(_) => None,
    };
    if let Some(acked) = &acked {
        steps::acked(acked);
    }
}
