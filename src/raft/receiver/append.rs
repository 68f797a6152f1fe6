//! Entries and heartbeats of a leader, and what this member has acknowledged of them.

use super::accepted::Taken;
use super::{Receiving, text};
use crate::message;
use crate::trace_steps;
use crate::types::{LogId, Types, Vote, term_of};
use crate::validate;
use bytes::Bytes;
use detcd_core::membership::{AppendCheck, AskedLeader, LogEnd, LostEntries};
use detcd_peer::Kind;
use detcd_rt::JoinHandle;
use detcd_storage::store::Store;
use futures::future::{BoxFuture, FutureExt, ready};
use futures::poll;
use openraft::entry::RaftEntry;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use std::pin::pin;
use std::sync::{Arc, MutexGuard};
use std::task::Poll;
use tracing::error;

/// An append as it came.
struct Append {
    from: u64,
    request: AppendEntriesRequest<Types>,
    /// The index after the last entry that the sender says this member has acknowledged.
    acknowledged: u64,
}

/// What became of an append.
enum Given {
    /// The engine works on it.
    ToEngine {
        number: u64,
        response: BoxFuture<'static, Result<AppendEntriesResponse<Types>, String>>,
    },
    /// This member lacks what it is said to have acknowledged: the leader is asked. The text refuses
    /// the append.
    LeaderAsked(JoinHandle<String>),
}

impl<S: Store> Receiving<S> {
    pub(super) async fn append(self: &Arc<Self>, from: u64, body: Bytes) -> Result<Bytes, String> {
        let (request, acknowledged) = self.read(from, message::decode_append(body))?;
        let last = last_shown(&request);
        let append = Append {
            from,
            request,
            acknowledged,
        };
        let settled = self.taken.try_lock().ok();
        let given = match settled.filter(|taken| taken.is_settled()) {
            // This never waits: a sender that stops in the middle holds up nobody.
            Some(mut taken) => self.give(&mut taken, append).await?,
            None => self.give_in_turn(append).await?,
        };
        let (number, response) = match given {
            Given::ToEngine { number, response } => (number, response.await?),
            Given::LeaderAsked(asking) => return Err(asking.await.map_err(text)?),
        };
        self.note_answered(number);
        tell_acked(&response, last);
        Ok(message::encode_append_response(&response))
    }

    /// Gives an append to the engine after those before it. In a task of its own: it may wait, and
    /// then goes on though its sender hangs up.
    async fn give_in_turn(self: &Arc<Self>, append: Append) -> Result<Given, String> {
        let receiving = self.clone();
        let giving = detcd_rt::spawn(async move {
            let giving = async {
                let mut taken = receiving.taken.lock().await;
                receiving.settle(&mut taken).await?;
                receiving.give(&mut taken, append).await
            };
            receiving.running.call(giving).await.map_err(text)?
        });
        giving.await.map_err(text)?
    }

    /// Checks an append against everything before it and gives it to the engine.
    async fn give(self: &Arc<Self>, taken: &mut Taken, append: Append) -> Result<Given, String> {
        let Append {
            from,
            mut request,
            acknowledged,
        } = append;
        let vote = request.vote;
        self.check(from, taken.accepted, |known| {
            validate::append::check(from, &request, acknowledged, known)
        })?;
        let log = self.log_end(&vote);
        let checked = self.lost_entries().on_append(acknowledged, log);
        match checked {
            AppendCheck::Take => {}
            AppendCheck::AskLeader => {
                let receiving = self.clone();
                // It goes on though the sender hangs up: nobody else asks meanwhile.
                let asking = async move { receiving.ask_acknowledged(&vote, acknowledged).await };
                return Ok(Given::LeaderAsked(detcd_rt::spawn(asking)));
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
        let last = last_shown(&request);
        request.leader_commit = self.shown_commit(&request);
        self.sent_memberships().note(&request.entries);
        let receiving = self.clone();
        let response = async move { receiving.raft.append_entries(request).await.map_err(text) };
        let mut response = response.boxed();
        // Polled once, the engine has it: what is checked next is checked against this.
        let early = poll!(pin!(detcd_rt::unconstrained(&mut response)));
        if let Poll::Ready(early) = early {
            response = ready(early).boxed();
        }
        let number = taken.give(vote, last);
        Ok(Given::ToEngine { number, response })
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
        let last = last_shown(request)?;
        let is_sent = request
            .entries
            .first()
            .is_some_and(|first| commit.index() >= first.index());
        match commit.index() > last.index() {
            true => Some(last),
            false => (is_sent || holds(&commit)).then_some(commit),
        }
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

/// The last entry that a request shows.
fn last_shown(request: &AppendEntriesRequest<Types>) -> Option<LogId> {
    let last = request.entries.last().map(RaftEntry::log_id);
    last.or(request.prev_log_id)
}

/// What an answer says that this member has; `last` is the last entry of the request.
fn tell_acked(response: &AppendEntriesResponse<Types>, last: Option<LogId>) {
    let acked = match response {
        AppendEntriesResponse::Success => last,
        AppendEntriesResponse::PartialSuccess(matching) => *matching,
        AppendEntriesResponse::Conflict | AppendEntriesResponse::HigherVote(_) => None,
    };
    if let Some(acked) = &acked {
        trace_steps::acked(acked);
    }
}
