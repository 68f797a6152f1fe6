//! The membership of a cluster: what a member decides about it, as Sans-IO machines.
//!
//! The membership itself changes through raft, one change at a time; the leader asks `rules`
//! before it proposes one. What clients are shown is the list of members: a member that was added
//! as a voter is shown as one from the start, though raft lets it vote only once it has caught up.
//!
//! - `change`, `rules`, `config`: which changes and memberships make sense, and are allowed.
//! - `request`: the member that a client asks has the leader make a change.
//! - `leader`: the leader makes it, and makes those changes that nobody asks for.
//! - `transfer`: the leadership goes to another member.
//! - `acknowledged`: a member that has lost what it acknowledged is found out, and halts.
//! - `liveness`: whether the leader is there.
//! - `purge`: the log is kept for members that get a snapshot.
//! - `addresses`: where the others are reached.
//! - [`id`], [`identity`], [`join`], [`admission`], [`peer_urls`]: how a member gets into its cluster.
//! - [`discovery`]: how members that do not know of each other find each other.

mod acknowledged;
mod addresses;
pub mod admission;
mod change;
mod config;
pub mod discovery;
pub mod id;
pub mod identity;
pub mod join;
mod leader;
mod liveness;
pub mod peer_urls;
mod purge;
mod request;
mod rules;
mod transfer;

pub use acknowledged::{
    AcknowledgedEntries, AppendCheck, AppendReply, AskedLeader, LeaderTerm, LogEnd, LostEntries,
};
pub use addresses::{AddressEffect, PeerAddresses};
pub use change::{MembershipChange, check_forwarded, peer_urls};
pub use config::{BadMembership, RaftMembership};
pub use leader::{
    ChangeError, EntryId, LeaderEffect, LeaderEvent, LeaderView, MembershipLeader, ProposalOutcome,
    Reconfiguration,
};
pub use liveness::{EngineLeader, LeaderLiveness};
pub use purge::{LogSize, PurgeDeferral};
pub use request::{ChangeRequest, LeaderReply, RequestEffect, RequestEvent, RequestView};
pub use rules::{ClusterState, Replication, check_transferee, is_started};
pub use transfer::{
    HandOver, HandOverEffect, HandOverEnd, LeaderTransfer, TransferEffect, TransferView,
};
