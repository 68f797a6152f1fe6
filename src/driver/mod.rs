//! The driver of one member: it does what [`detcd_core::node::Node`] decides.
//!
//! One task owns the node. Requests of clients, completions of IO and the raft engine's news reach
//! it as events; it hands them to the node, drains the effects, and carries each out without
//! waiting: whatever takes time runs in a task of its own, whose completion is the next event.
//! Reads leave the loop as soon as they may run: the query itself runs in the requester's task, on
//! the view published last.
//!
//! [`Member::start`] assembles a member from its seams (disk, store, transport) and gives the
//! [`Handle`] through which every protocol serves.

mod admission;
mod append_stats;
mod compactor;
mod engine;
mod handle;
mod identify;
mod inbox;
mod member;
mod meter;
mod peer_bodies;
mod peers;
mod reconfig;
mod restored;
mod run;
mod shared;
pub mod stats;
mod tokens;
mod transfer;
mod v2_stats;
mod v2_watch;
mod waiters;
mod watch;

pub use detcd_core::membership::admission::ShutdownReason;
pub use handle::{Handle, Header, MemberStatus, Progress, RangeStream, SnapshotFile};
pub use identify::Identify;
pub use member::{Member, MemberOptions, StartError};
pub use restored::restored_rows;
pub use tokens::Tokens;
pub use v2_watch::{V2Watch, V2WatchError};
pub use watch::{Watch, WatchSender};
