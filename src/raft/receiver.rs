//! What other members' raft messages do here.

use crate::contact::Contact;
use crate::log::LogAdapter;
use crate::machine::{MachineAdapter, Persisted, SnapshotData};
use crate::message;
use crate::promises;
use crate::snapshot::{self, Chunk, Header, Totals};
use crate::steps;
use crate::types::{LogId, Types, Vote, log_id};
use bytes::Bytes;
use detcd_peer::{Kind, Receiver};
use detcd_storage::store::{Stage, Store};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt};
use openraft::Raft;
use openraft::entry::RaftEntry;
use openraft::raft::AppendEntriesResponse;
use openraft::storage::Snapshot;
use std::sync::Arc;
use tokio::sync::{Mutex, watch};
use tracing::{error, info};

/// Answers the raft kinds; the driver answers the others.
pub struct RaftReceiver<S: Store> {
    raft: Raft<Types, MachineAdapter<S>>,
    store: Arc<S>,
    log: LogAdapter<Persisted<S>>,
    /// Set once this member must halt.
    fatal: watch::Sender<Option<String>>,
    contact: Contact,
    installing: Arc<Installing>,
}

/// At most one snapshot is being received. A newer stream ends the one before: its sender may
/// long have stopped to lead.
struct Installing {
    turn: Mutex<()>,
    newest: watch::Sender<u64>,
}

impl<S: Store> Clone for RaftReceiver<S> {
    fn clone(&self) -> Self {
        RaftReceiver {
            raft: self.raft.clone(),
            store: self.store.clone(),
            log: self.log.clone(),
            fatal: self.fatal.clone(),
            contact: self.contact.clone(),
            installing: self.installing.clone(),
        }
    }
}

impl<S: Store> RaftReceiver<S> {
    pub(crate) fn new(
        raft: Raft<Types, MachineAdapter<S>>,
        store: Arc<S>,
        log: LogAdapter<Persisted<S>>,
        fatal: watch::Sender<Option<String>>,
        contact: Contact,
    ) -> RaftReceiver<S> {
        let installing = Installing {
            turn: Mutex::new(()),
            newest: watch::Sender::new(0),
        };
        RaftReceiver {
            raft,
            store,
            log,
            fatal,
            contact,
            installing: Arc::new(installing),
        }
    }

    async fn answer(self, kind: Kind, body: Bytes) -> Result<Bytes, String> {
        match kind {
            Kind::AppendEntries => {
                let (request, promised) = message::decode_append(body).map_err(text)?;
                self.keep_promise(&request.vote, promised)?;
                if !self.has_voted_beyond(&request.vote) {
                    self.contact.heard_from(request.vote.leader_id().voted_for);
                }
                let last = request.entries.last().map(RaftEntry::log_id);
                let last = last.or(request.prev_log_id);
                let response = self.raft.append_entries(request).await.map_err(text)?;
                tell_acked(&response, last);
                Ok(message::encode_append_response(&response))
            }
            Kind::Vote => {
                let mut request = message::decode_vote_request(body).map_err(text)?;
                if detcd_core::mutant!(VoteOnSight) {
                    request.last_log_id = Some(log_id(request.vote.leader_id.term, u64::MAX));
                }
                let candidate = *request.vote.leader_id();
                let response = self.raft.vote(request).await.map_err(text)?;
                if response.vote_granted {
                    steps::granted(candidate.term, candidate.voted_for);
                }
                Ok(message::encode_vote_response(&response))
            }
            Kind::PreVote => {
                let mut request = message::decode_vote_request(body).map_err(text)?;
                if detcd_core::mutant!(VoteOnSight) {
                    request.last_log_id = Some(log_id(request.vote.leader_id.term, u64::MAX));
                }
                let response = self.raft.pre_vote(request).await.map_err(text)?;
                Ok(message::encode_vote_response(&response))
            }
            Kind::TransferLeader => {
                let request = message::decode_transfer(body).map_err(text)?;
                let response = self
                    .raft
                    .handle_transfer_leader(request)
                    .await
                    .map_err(text)?;
                Ok(message::encode_transfer_response(&response))
            }
            Kind::Snapshot
            | Kind::Propose
            | Kind::ReadIndex
            | Kind::Lease
            | Kind::Members
            | Kind::Hello => Err(format!("{kind:?} is not a call to raft")),
        }
    }

    /// Halts this member if its log lacks what it has acknowledged to this leader.
    fn keep_promise(&self, vote: &Vote, promised: u64) -> Result<(), String> {
        if let Some(reason) = &*self.fatal.borrow() {
            return Err(reason.clone());
        }
        // In this order: a leader that came later saves its vote first, and then cuts the log.
        let held = self.log.next_index();
        if promised <= held || self.has_voted_beyond(vote) {
            return Ok(());
        }
        let reason = promises::forgotten(held, promised);
        error!("{reason}");
        self.fatal.send_replace(Some(reason.clone()));
        Err(reason)
    }

    /// Whether this member knows of a newer leader, or candidate, than this one.
    fn has_voted_beyond(&self, vote: &Vote) -> bool {
        self.log.vote().is_some_and(|own| own > *vote)
    }

    async fn install(
        self,
        from: u64,
        mut chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> Result<Bytes, String> {
        let mut totals = Totals::default();
        let first = chunks.next().await.ok_or("an empty snapshot stream")??;
        let Chunk::Header(header) = snapshot::decode(first, &mut totals).map_err(text)? else {
            return Err("a snapshot stream does not start with its header".to_owned());
        };
        if let Some(newer) = self.newer_vote(&header) {
            return Ok(message::encode_vote(&newer));
        }
        let mut newest = self.installing.newest.subscribe();
        self.installing.newest.send_modify(|newest| *newest += 1);
        newest.mark_unchanged();
        let _turn = self.installing.turn.lock().await;
        info!(from = format_args!("{from:x}"), meta = %header.meta, "receiving a snapshot");
        let superseded = async {
            // The sender lives in `self`: only a newer stream ends this wait.
            let _ = newest.changed().await;
        };
        let stage = tokio::select! {
            biased;
            () = superseded => return Err("a newer snapshot stream has begun".to_owned()),
            stage = self.receive(chunks, totals) => stage?,
        };
        let Header { vote, meta } = header;
        let snapshot = Snapshot {
            meta,
            snapshot: SnapshotData::Staged(stage),
        };
        let response = self
            .raft
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(text)?;
        Ok(message::encode_vote(&response.vote))
    }

    /// This member's vote, if it is ahead of the sender's: nothing need be received then.
    fn newer_vote(&self, header: &Header) -> Option<Vote> {
        use openraft::async_runtime::WatchReceiver;
        let vote = self.raft.metrics().borrow_watched().vote;
        (vote > header.vote).then_some(vote)
    }

    /// Writes all rows into a stage, which is returned only if nothing is missing.
    async fn receive(
        &self,
        mut chunks: BoxStream<'static, Result<Bytes, String>>,
        mut totals: Totals,
    ) -> Result<S::Stage, String> {
        let mut stage = self.store.stage().await.map_err(text)?;
        while let Some(chunk) = chunks.next().await {
            match snapshot::decode(chunk?, &mut totals).map_err(text)? {
                Chunk::Rows(batch) => stage.write(batch).await.map_err(text)?,
                Chunk::End(expected) if expected == totals => return Ok(stage),
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
        _from: u64,
        kind: Kind,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        self.clone().answer(kind, body).boxed()
    }

    fn stream(
        &self,
        from: u64,
        kind: Kind,
        chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        match kind {
            Kind::Snapshot => self.clone().install(from, chunks).boxed(),
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
