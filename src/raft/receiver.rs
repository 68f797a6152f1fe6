//! What other members' raft messages do here.

use crate::bytes_codec::DecodeError;
use crate::contact::Contact;
use crate::log::LogAdapter;
use crate::machine::{MachineAdapter, Persisted, SnapshotData};
use crate::message;
use crate::node::Published;
use crate::promises::{self, Promises};
use crate::running::Running;
use crate::snapshot::{self, Chunk, Header, Totals};
use crate::steps;
use crate::types::{LogId, Types, Vote, log_id, term_of};
use crate::validate::{self, Known, Refusal};
use arc_swap::ArcSwap;
use bytes::Bytes;
use detcd_core::api::MemberId;
use detcd_peer::{Kind, Receiver, Transport};
use detcd_rt::{Instant, RepeatedLines};
use detcd_storage::store::{Stage, Store};
use futures::future::{BoxFuture, FutureExt};
use futures::poll;
use futures::stream::{BoxStream, StreamExt};
use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use openraft::entry::RaftEntry;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use openraft::storage::Snapshot;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tracing::{error, info, warn};

/// Answers the raft kinds; the driver answers the others.
pub struct RaftReceiver<S: Store> {
    inner: Arc<Inner<S>>,
}

/// What a receiver works with.
pub(crate) struct Inner<S: Store> {
    pub(crate) id: u64,
    pub(crate) raft: Raft<Types, MachineAdapter<S>>,
    pub(crate) running: Running,
    pub(crate) store: Arc<S>,
    pub(crate) log: LogAdapter<Persisted<S>>,
    /// Set once this member must halt.
    pub(crate) fatal: watch::Sender<Option<String>>,
    pub(crate) contact: Contact,
    pub(crate) published: Arc<ArcSwap<Published>>,
    /// What others have acknowledged to this member as their leader.
    pub(crate) promises: Promises,
    /// The way to the leader, when this member has to ask it.
    pub(crate) transport: Arc<dyn Transport>,
    /// What the leader may take to answer.
    pub(crate) timeout: Duration,
    pub(crate) installing: Installing,
    /// What was taken from the leader that was followed last. Held while a message is checked and
    /// handed to the engine, so that the next one is checked against what it did.
    pub(crate) accepted: Mutex<Option<Accepted>>,
    /// Held while the leader is asked what this member has acknowledged.
    pub(crate) asking: Mutex<()>,
    pub(crate) lines: RepeatedLines,
}

/// The last entry that a leader sent, and that this member took into its log.
#[derive(Clone, Copy)]
pub(crate) struct Accepted {
    vote: Vote,
    last: LogId,
}

/// At most one snapshot is being received. A newer stream ends the one before: its sender may
/// long have stopped to lead.
pub(crate) struct Installing {
    turn: Mutex<()>,
    newest: watch::Sender<u64>,
}

impl Default for Installing {
    fn default() -> Installing {
        Installing {
            turn: Mutex::new(()),
            newest: watch::Sender::new(0),
        }
    }
}

impl<S: Store> Clone for RaftReceiver<S> {
    fn clone(&self) -> Self {
        RaftReceiver {
            inner: self.inner.clone(),
        }
    }
}

impl<S: Store> RaftReceiver<S> {
    pub(crate) fn new(inner: Inner<S>) -> RaftReceiver<S> {
        RaftReceiver {
            inner: Arc::new(inner),
        }
    }
}

impl<S: Store> Inner<S> {
    async fn answer(self: Arc<Self>, from: u64, kind: Kind, body: Bytes) -> Result<Bytes, String> {
        let answer = self.answer_running(from, kind, body);
        self.running.call(answer).await.map_err(text)?
    }

    async fn answer_running(&self, from: u64, kind: Kind, body: Bytes) -> Result<Bytes, String> {
        if let Some(reason) = &*self.fatal.borrow() {
            return Err(reason.clone());
        }
        match kind {
            Kind::AppendEntries => self.append(from, body).await,
            Kind::Vote | Kind::PreVote => self.answer_vote(from, kind, body).await,
            Kind::TransferLeader => {
                let request = self.read(from, message::decode_transfer(body))?;
                self.check(from, None, |known| {
                    validate::vote::check_transfer(from, &request, known)
                })?;
                let response = self.raft.handle_transfer_leader(request).await;
                Ok(message::encode_transfer_response(&response.map_err(text)?))
            }
            Kind::Acknowledged => {
                let vote = self.read(from, message::decode_vote(body))?;
                let next = self.promises.next_of(from, &vote);
                Ok(message::encode_acknowledged(next))
            }
            Kind::Snapshot
            | Kind::Propose
            | Kind::ReadIndex
            | Kind::Lease
            | Kind::Members
            | Kind::Hello => Err(format!("{kind:?} is not a call to raft")),
        }
    }

    async fn append(&self, from: u64, body: Bytes) -> Result<Bytes, String> {
        let (mut request, promised) = self.read(from, message::decode_append(body))?;
        let vote = request.vote;
        let mut accepted = self.accepted.lock().await;
        self.check(from, *accepted, |known| {
            validate::append::check(from, &request, promised, known)
        })?;
        if self.lacks(&vote, promised) {
            drop(accepted);
            return Err(self.ask_acknowledged(&vote, promised).await);
        }
        if !self.has_voted_beyond(&vote) {
            self.contact.heard_from(vote.leader_id().voted_for);
        }
        let last = request.entries.last().map(RaftEntry::log_id);
        let last = last.or(request.prev_log_id);
        request.leader_commit = self.shown_commit(&request);
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

    /// The newest vote, whether it is saved already or not.
    fn vote(&self) -> Option<Vote> {
        let engine = self.raft.metrics().borrow_watched().vote;
        let saved = self.log.vote();
        let is_saved = saved.is_some_and(|saved| validate::is_followable(&saved, &engine));
        saved.filter(|_| is_saved).or(Some(engine))
    }

    /// Waits until the engine has taken up what it was given, and notes what is now in the log.
    async fn note_accepted(
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

    async fn answer_vote(&self, from: u64, kind: Kind, body: Bytes) -> Result<Bytes, String> {
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
            steps::granted(candidate.term, candidate.voted_for);
        }
        Ok(message::encode_vote_response(&response))
    }

    /// What was decoded; what cannot be is refused.
    fn read<R>(&self, from: u64, decoded: Result<R, DecodeError>) -> Result<R, String> {
        decoded.map_err(|error| self.refuse(from, &error))
    }

    /// Lets a message pass if it agrees with what this member knows.
    fn check(
        &self,
        from: u64,
        accepted: Option<Accepted>,
        check: impl FnOnce(&Known<'_>) -> Result<(), Refusal>,
    ) -> Result<(), String> {
        let vote = self.vote();
        let checked = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let published = self.published.load();
            let roster = &published.roster;
            let memberships = [
                &metrics.membership_config,
                &metrics.committed_membership_config,
            ];
            let is_member = |id: u64| {
                memberships
                    .iter()
                    .any(|known| known.membership().get_node(&id).is_some())
                    || roster.members.iter().any(|known| known.id.0 == id)
                    || roster.removed.contains(&MemberId(id))
            };
            let accepted = accepted.filter(|accepted| vote == Some(accepted.vote));
            let known = Known {
                id: self.id,
                vote,
                accepted: accepted.map(|accepted| accepted.last),
                last: self.log.last(),
                committed: metrics.local_committed,
                is_founded: metrics.membership_config.log_id().is_some(),
                is_member: &is_member,
                term_at: &|index| self.log.term_at(index),
            };
            check(&known)
        };
        checked.map_err(|refusal| self.refuse(from, &refusal))
    }

    /// Says, once for many, why a message is refused.
    fn refuse(&self, from: u64, reason: &dyn std::fmt::Display) -> String {
        let reason = format!("this message is refused: {reason}");
        if let Some(left_out) = self.lines.take("refused", Instant::now()) {
            warn!(
                from = format_args!("{from:x}"),
                reason, left_out, "refused a message of a peer"
            );
        }
        reason
    }

    /// Asks the leader what this member has acknowledged, and halts if the log lacks it; gives the
    /// answer to the message that said so.
    ///
    /// That message may be forged. So the leader is asked on a connection that this member makes
    /// itself, and only what it confirms counts.
    async fn ask_acknowledged(&self, vote: &Vote, promised: u64) -> String {
        let leader = vote.leader_id().voted_for;
        // One question is enough, however many messages say the same.
        let Ok(_alone) = self.asking.try_lock() else {
            return "the leader is being asked what this member has acknowledged".to_owned();
        };
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
            Err(reason) => return reason,
        };
        let held = self.log.next_index();
        if !self.lacks(vote, confirmed) {
            let reason = format!(
                "it says that this member has acknowledged the entries before {promised}, the \
                 leader says {confirmed}, and this member has those before {held}"
            );
            return self.refuse(leader, &reason);
        }
        let reason = promises::forgotten(held, confirmed);
        error!("{reason}");
        self.fatal.send_replace(Some(reason.clone()));
        reason
    }

    /// Whether the log ends before this index, and no newer leader may have cut it.
    fn lacks(&self, vote: &Vote, promised: u64) -> bool {
        // In this order: a leader that came later saves its vote first, and then cuts the log.
        promised > self.log.next_index() && !self.has_voted_beyond(vote)
    }

    /// Whether this member knows of a newer leader, or candidate, than this one.
    fn has_voted_beyond(&self, vote: &Vote) -> bool {
        self.log.vote().is_some_and(|own| own > *vote)
    }

    async fn install(
        &self,
        from: u64,
        mut chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> Result<Bytes, String> {
        let mut totals = Totals::default();
        let first = chunks.next().await.ok_or("an empty snapshot stream")??;
        let first = self.read(from, snapshot::decode(first, &mut totals))?;
        let Chunk::Header(header) = first else {
            return Err(self.refuse(from, &"a snapshot does not start with its header"));
        };
        let check = |known: &Known<'_>| validate::snapshot::check_header(from, &header, known);
        self.check(from, None, check)?;
        if let Some(newer) = self.newer_vote(&header) {
            return Ok(message::encode_vote(&newer));
        }
        let mut newest = self.installing.newest.subscribe();
        self.installing.newest.send_modify(|newest| *newest += 1);
        newest.mark_unchanged();
        let _turn = self.installing.turn.lock().await;
        if let Some(left_out) = self.lines.take("receiving", Instant::now()) {
            let from = format_args!("{from:x}");
            info!(from, meta = %header.meta, left_out, "receiving a snapshot");
        }
        let superseded = async {
            // The sender lives in `self`: only a newer stream ends this wait.
            let _ = newest.changed().await;
        };
        let received = self.receive(from, &header, chunks, totals);
        let stage = tokio::select! {
            biased;
            () = superseded => return Err("a newer snapshot stream has begun".to_owned()),
            stage = received => stage?,
        };
        self.hand_over(from, header, stage).await
    }

    /// Has the engine install what was received.
    async fn hand_over(&self, from: u64, header: Header, stage: S::Stage) -> Result<Bytes, String> {
        let mut accepted = self.accepted.lock().await;
        // What was committed meanwhile must not be contradicted either.
        self.check(from, *accepted, |known| {
            validate::snapshot::check_header(from, &header, known)
        })?;
        let Header { vote, meta } = header;
        let last = meta.last_log_id;
        let snapshot = Snapshot {
            meta,
            snapshot: SnapshotData::Staged(stage),
        };
        let mut response = pin!(self.raft.install_full_snapshot(vote, snapshot));
        let early = poll!(response.as_mut());
        self.note_accepted(&mut accepted, &vote, last).await?;
        drop(accepted);
        let response = match early {
            Poll::Ready(response) => response,
            Poll::Pending => response.await,
        };
        Ok(message::encode_vote(&response.map_err(text)?.vote))
    }

    /// This member's vote, if it is ahead of the sender's: nothing need be received then.
    fn newer_vote(&self, header: &Header) -> Option<Vote> {
        let vote = self.raft.metrics().borrow_watched().vote;
        (vote > header.vote).then_some(vote)
    }

    /// Writes all rows into a stage, which is returned only if nothing is missing and everything
    /// can be read.
    async fn receive(
        &self,
        from: u64,
        header: &Header,
        mut chunks: BoxStream<'static, Result<Bytes, String>>,
        mut totals: Totals,
    ) -> Result<S::Stage, String> {
        let mut stage = self.store.stage().await.map_err(text)?;
        let mut rows = validate::snapshot::Rows::default();
        while let Some(chunk) = chunks.next().await {
            match self.read(from, snapshot::decode(chunk?, &mut totals))? {
                Chunk::Rows(batch) => {
                    let checked = rows.check(&batch);
                    checked.map_err(|refusal| self.refuse(from, &refusal))?;
                    stage.write(batch).await.map_err(text)?;
                }
                Chunk::End(expected) if expected == totals => {
                    let checked = rows.end(&header.meta);
                    checked.map_err(|refusal| self.refuse(from, &refusal))?;
                    return Ok(stage);
                }
                Chunk::End(expected) => {
                    return Err(format!(
                        "the snapshot has {totals:?}, but was sent {expected:?}"
                    ));
                }
                Chunk::Header(_) => return Err("a second header in a snapshot".to_owned()),
            }
        }
        Err("the snapshot ends early".to_owned())
    }
}

impl<S: Store> Receiver for RaftReceiver<S> {
    fn call(
        &self,
        from: u64,
        kind: Kind,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        let inner = self.inner.clone();
        if kind != Kind::AppendEntries {
            return inner.answer(from, kind, body).boxed();
        }
        // It is taken up to its end, though its sender may hang up in the middle.
        let answer = detcd_rt::spawn(inner.answer(from, kind, body));
        async move { answer.await.map_err(text)? }.boxed()
    }

    fn stream(
        &self,
        from: u64,
        kind: Kind,
        chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        match kind {
            Kind::Snapshot => {
                let inner = self.inner.clone();
                let installed = async move {
                    let installed = inner.running.call(inner.install(from, chunks));
                    installed.await.map_err(text)?
                };
                installed.boxed()
            }
            other => async move { Err(format!("{other:?} is not a stream to raft")) }.boxed(),
        }
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

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
