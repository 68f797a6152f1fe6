//! What every protocol serves by: requests and replies in core's types.

mod auth;
mod cluster;
mod kv;
mod lease;
mod maintenance;
mod read;
mod request;
mod snapshot;
mod stream;
mod v2;
mod v2_auth;
mod write;

pub use maintenance::MemberStatus;
pub use snapshot::SnapshotFile;
pub use stream::RangeStream;

use crate::identify::Identify;
use crate::inbox::Requests;
use crate::shared::Shared;
use crate::stats::Stats;
use crate::tokens::Tokens;
use crate::watch::Watch;
use detcd_core::api::{ClusterId, MemberId, StreamId};
use detcd_core::error::Error;
use detcd_core::membership::admission::ShutdownReason;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What stands on every response (etcd: ResponseHeader).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub cluster_id: ClusterId,
    pub member_id: MemberId,
    pub revision: i64,
    pub raft_term: u64,
}

/// How far a member has applied its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub applied: u64,
    /// The term of the entry applied last.
    pub term: u64,
    pub revision: i64,
    pub compact_revision: i64,
}

/// A member's service. Cheap to clone; every method may be called on any task.
///
/// A write's error is definite unless it is one of the `Timeout` family or `Stopped`: then the
/// write may take effect at any later time, or never.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) requests: Requests,
    /// On whose behalf it asks; `None` for the member itself.
    pub(crate) client: Option<Arc<dyn Identify>>,
}

impl Handle {
    /// Opens a watch stream.
    pub async fn watch(&self) -> Result<Watch, Error> {
        self.full_member()?;
        let stream = StreamId(self.shared.names.next());
        let client = Some(self.clone());
        let stats = self.shared.stats.clone();
        Watch::open(stream, self.requests.clone(), stats, client)
            .await
            .ok_or(Error::Stopped)
    }

    /// What this member counts of itself.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// The simple tokens that this member knows.
    pub fn tokens(&self) -> &Tokens {
        &self.shared.tokens
    }

    /// The member that leads, as long as this member hears from it (or, if it leads itself, from a
    /// quorum).
    pub fn leader(&self) -> tokio::sync::watch::Receiver<Option<MemberId>> {
        self.shared.leader.clone()
    }

    /// Whether a client that requires a leader is served. A learner, which never stands for election,
    /// goes by the last leader that it has heard of, as etcd's does.
    pub fn has_leader(&self) -> bool {
        match self.is_learner() {
            true => self.shared.engine.status().leader.is_some(),
            false => self.shared.leader.borrow().is_some(),
        }
    }

    /// Why the member had to halt, once it has.
    pub fn fatal(&self) -> tokio::sync::watch::Receiver<Option<String>> {
        self.shared.lifecycle.fatal.subscribe()
    }

    /// Why this member stops for good, once it does: the process is to end.
    pub fn shutdown_reason(&self) -> tokio::sync::watch::Receiver<Option<ShutdownReason>> {
        self.shared.lifecycle.shutdown_reason.subscribe()
    }

    /// How far this member has applied its log.
    pub fn published(&self) -> Progress {
        let published = self.shared.engine.published();
        Progress {
            applied: published.applied,
            term: published.term,
            revision: published.revision,
            compact_revision: published.compact_revision,
        }
    }

    /// The header of a response that shows `revision`.
    pub fn header(&self, revision: i64) -> Header {
        Header {
            cluster_id: self.shared.settings.cluster_id,
            member_id: self.shared.member_id(),
            revision,
            raft_term: self.shared.term.load(Ordering::Relaxed),
        }
    }

    /// The header with the revision applied last.
    pub fn header_now(&self) -> Header {
        self.header(self.shared.engine.published().revision)
    }

    /// Learners answer only what any member can tell by itself.
    pub(crate) fn full_member(&self) -> Result<(), Error> {
        match self.is_learner() {
            true => Err(Error::LearnerUnsupported),
            false => Ok(()),
        }
    }

    /// Whether this member was added as a learner, and not promoted since.
    pub fn is_learner(&self) -> bool {
        self.shared.engine.published().roster.is_learner()
    }
}
