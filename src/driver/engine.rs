//! The raft engine without the type of its store, so that handles need not carry it.

use arc_swap::ArcSwap;
use detcd_core::api::{LeaseId, Member, MemberId};
use detcd_core::command::Proposal;
use detcd_core::event::Seq;
use detcd_core::membership::{ChangeError, MembershipChange, Replication};
use detcd_core::status::{Published, RaftStatus};
use detcd_core::view::Fault;
use detcd_raft::{NoReadIndex, RaftNode};
use detcd_storage::store::{Size, Store};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What the driver asks of [`RaftNode`]; see there.
pub(crate) trait Engine: Send + Sync + 'static {
    fn propose(&self, proposals: Vec<Proposal>);
    fn revoke(&self, term: u64, lease: LeaseId, proposal: Proposal);
    fn propose_and_wait(&self, proposals: Vec<Proposal>) -> BoxFuture<'static, Vec<Seq>>;
    fn read_index(&self) -> BoxFuture<'static, Result<u64, NoReadIndex>>;
    fn published(&self) -> Arc<Published>;
    fn refresh(&self) -> Result<(), Fault>;
    fn status(&self) -> RaftStatus;
    fn size(&self) -> Size;
    fn change_members(
        &self,
        change: MembershipChange,
        strict: bool,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Vec<Member>, ChangeError>>;
    /// Who votes in raft.
    fn voters(&self) -> Vec<MemberId>;
    /// How far the others have come, as far as this member knows, if it leads.
    fn replication(&self) -> Replication;
    /// Asks the engine to hand over; whether it comes to pass is seen in who leads.
    fn transfer_leader(&self, to: MemberId);
    fn resume(&self, to: MemberId) -> BoxFuture<'static, ()>;
    fn fatal(&self) -> watch::Receiver<Option<String>>;
    fn shutdown(&self) -> BoxFuture<'static, ()>;
}

/// A [`RaftNode`] and the store under it.
pub(crate) struct StoredEngine<S: Store> {
    raft: RaftNode<S>,
    published: Arc<ArcSwap<Published>>,
    store: Arc<S>,
}

impl<S: Store> StoredEngine<S> {
    pub fn new(raft: RaftNode<S>, store: Arc<S>) -> StoredEngine<S> {
        let published = raft.published();
        StoredEngine {
            raft,
            published,
            store,
        }
    }
}

impl<S: Store> Engine for StoredEngine<S> {
    fn propose(&self, proposals: Vec<Proposal>) {
        self.raft.propose(proposals);
    }

    fn revoke(&self, term: u64, lease: LeaseId, proposal: Proposal) {
        self.raft.revoke(term, lease, proposal);
    }

    fn propose_and_wait(&self, proposals: Vec<Proposal>) -> BoxFuture<'static, Vec<Seq>> {
        let raft = self.raft.clone();
        async move { raft.propose_and_wait(proposals).await }.boxed()
    }

    fn read_index(&self) -> BoxFuture<'static, Result<u64, NoReadIndex>> {
        let raft = self.raft.clone();
        async move { raft.read_index().await }.boxed()
    }

    fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    fn refresh(&self) -> Result<(), Fault> {
        detcd_raft::refresh(&*self.store, &self.published)
    }

    fn status(&self) -> RaftStatus {
        self.raft.status()
    }

    fn size(&self) -> Size {
        self.store.size()
    }

    fn change_members(
        &self,
        change: MembershipChange,
        strict: bool,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Vec<Member>, ChangeError>> {
        let raft = self.raft.clone();
        async move { raft.change_members(&change, strict, timeout).await }.boxed()
    }

    fn replication(&self) -> Replication {
        self.raft.replication()
    }

    fn voters(&self) -> Vec<MemberId> {
        self.raft.voters()
    }

    fn transfer_leader(&self, to: MemberId) {
        let raft = self.raft.clone();
        detcd_rt::spawn(async move {
            // An engine that has ended hands nothing over, and its end is told elsewhere.
            let _ = raft.transfer_leader(to).await;
        });
    }

    fn resume(&self, to: MemberId) -> BoxFuture<'static, ()> {
        let raft = self.raft.clone();
        async move { raft.resume(to).await }.boxed()
    }

    fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.raft.fatal()
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        let raft = self.raft.clone();
        async move { raft.shutdown().await }.boxed()
    }
}
