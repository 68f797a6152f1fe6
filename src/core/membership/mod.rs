//! Changes of the membership: which are allowed, who makes them, and what a leader does by itself.
//!
//! The membership itself changes through raft, one change at a time; the leader asks here before
//! it proposes one. What clients are shown is the list of members: a member that was added as a
//! voter is shown as one from the start, though raft lets it vote only once it has caught up.

pub mod admission;
mod change;
pub mod id;
pub mod identity;
pub mod join;
pub mod peer_urls;
mod rules;

pub use change::{MembershipChange, check_forwarded, peer_urls};
pub use rules::{ClusterState, check_transferee, is_started};
