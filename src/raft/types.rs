//! openraft's type parameters, chosen.

use crate::proposer::Refusal;
use crate::runtime::Runtime;
use bytes::Bytes;
use openraft::impls::{self, leader_id_std};
use openraft::{OptionalSend, RaftTypeConfig, alias};
use std::fmt;

/// Our instance of openraft. Written out, because `declare_raft_types!` cannot name a responder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

impl RaftTypeConfig for Types {
    type D = Command;
    type R = ();
    type NodeId = u64;
    type Node = Peer;
    type Term = u64;
    // One leader in a term, as in etcd.
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = impls::Vote<Self::LeaderId>;
    type Payload = impls::EntryPayload<Command, u64, Peer>;
    type Entry = impls::Entry<CommittedLeader, Self::Payload>;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = Refusal<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = impls::BoxedErrorSource;
}

pub(crate) type CommittedLeader = alias::CommittedLeaderIdOf<Types>;
pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Vote = alias::VoteOf<Types>;
pub(crate) type Entry = alias::EntryOf<Types>;
pub(crate) type Payload = alias::PayloadOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, Peer>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;

/// A proposal as it stands in the log: the payload bytes of [`crate::payload`], which are made
/// once, where the proposal enters the engine, and shared by log, network and apply.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Command(pub(crate) Bytes);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.0.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A member as raft's membership carries it: enough to reach it and to list it before it has
/// published itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) peer_urls: Vec<String>,
    /// Whether it was asked for as a learner, and is to stay one until it is promoted. Raft's own
    /// learners are also those members that have yet to catch up.
    pub(crate) learner: bool,
}

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

pub(crate) fn term_of(log_id: &LogId) -> u64 {
    **log_id.committed_leader_id()
}
