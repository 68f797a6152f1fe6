//! What other members' raft messages do here.

mod accepted;
mod append;
mod check;
mod memberships;
mod snapshot;
mod vote;

pub(crate) use accepted::Taken;
pub(crate) use memberships::SentMemberships;
pub(crate) use snapshot::Installing;

use crate::acknowledged::Acknowledged;
use crate::leader_liveness::Liveness;
use crate::log::LogAdapter;
use crate::machine::{MachineAdapter, Persisted};
use crate::message;
use crate::running::Running;
use crate::types::Types;
use arc_swap::ArcSwap;
use bytes::Bytes;
use detcd_core::membership::LostEntries;
use detcd_core::status::Published;
use detcd_peer::{Kind, Receiver, Transport};
use detcd_rt::RepeatedLines;
use detcd_storage::store::Store;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::BoxStream;
use openraft::Raft;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};

/// Answers the raft kinds; the driver answers the others.
pub struct RaftReceiver<S: Store> {
    receiving: Arc<Receiving<S>>,
}

/// What a receiver works with.
pub(crate) struct Receiving<S: Store> {
    pub(crate) id: u64,
    pub(crate) raft: Raft<Types, MachineAdapter<S>>,
    pub(crate) running: Running,
    pub(crate) store: Arc<S>,
    pub(crate) log: LogAdapter<Persisted<S>>,
    /// Set once this member must halt.
    pub(crate) fatal: watch::Sender<Option<String>>,
    pub(crate) liveness: Liveness,
    pub(crate) published: Arc<ArcSwap<Published>>,
    /// What others have acknowledged to this member as their leader.
    pub(crate) acknowledged: Acknowledged,
    /// The way to the leader, when this member has to ask it.
    pub(crate) transport: Arc<dyn Transport>,
    /// What the leader may take to answer.
    pub(crate) timeout: Duration,
    pub(crate) installing: Installing,
    pub(crate) taken: Mutex<Taken>,
    /// The memberships that the engine goes by, or is about to.
    pub(crate) sent_memberships: std::sync::Mutex<SentMemberships>,
    /// Whether this member has lost what it acknowledged.
    pub(crate) lost_entries: std::sync::Mutex<LostEntries>,
    pub(crate) lines: RepeatedLines,
}

impl<S: Store> Clone for RaftReceiver<S> {
    fn clone(&self) -> Self {
        RaftReceiver {
            receiving: self.receiving.clone(),
        }
    }
}

impl<S: Store> RaftReceiver<S> {
    pub(crate) fn new(receiving: Receiving<S>) -> RaftReceiver<S> {
        RaftReceiver {
            receiving: Arc::new(receiving),
        }
    }
}

impl<S: Store> Receiving<S> {
    async fn answer(self: Arc<Self>, from: u64, kind: Kind, body: Bytes) -> Result<Bytes, String> {
        let answer = self.answer_running(from, kind, body);
        self.running.call(answer).await.map_err(text)?
    }

    async fn answer_running(
        self: &Arc<Self>,
        from: u64,
        kind: Kind,
        body: Bytes,
    ) -> Result<Bytes, String> {
        if let Some(reason) = &*self.fatal.borrow() {
            return Err(reason.clone());
        }
        match kind {
            Kind::AppendEntries => self.append(from, body).await,
            Kind::Vote | Kind::PreVote => self.answer_vote(from, kind, body).await,
            Kind::TransferLeader => self.transfer_leader(from, body).await,
            Kind::Acknowledged => {
                let vote = self.read(from, message::decode_vote(body))?;
                let next = self.acknowledged.next_of(from, &vote);
                Ok(message::encode_acknowledged(next))
            }
            Kind::Snapshot
            | Kind::Propose
            | Kind::ReadIndex
            | Kind::Lease
            | Kind::Members
            | Kind::Greeting => Err(format!("{kind:?} is not a call to raft")),
        }
    }
}

impl<S: Store> Receiver for RaftReceiver<S> {
    fn call(
        &self,
        from: u64,
        kind: Kind,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        self.receiving.clone().answer(from, kind, body).boxed()
    }

    fn stream(
        &self,
        from: u64,
        kind: Kind,
        chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        match kind {
            Kind::Snapshot => {
                let receiving = self.receiving.clone();
                let installed = async move {
                    let installed = receiving.running.call(receiving.install(from, chunks));
                    installed.await.map_err(text)?
                };
                installed.boxed()
            }
            other => async move { Err(format!("{other:?} is not a stream to raft")) }.boxed(),
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
