//! The raft engine of a member: the only room that names openraft.
//!
//! ```text
//!             propose, confirm_read            events
//!   driver ───────────────────────► RaftNode ─────────► sink
//!                                      │
//!            proposer ──► openraft ──► machine adapter ──► Store, published view
//!                            │  │
//!                 log adapter┘  └network ──► Transport ──► other members' receiver
//! ```
//!
//! Every wait of openraft goes through [`runtime`], so that it runs under the simulator as it is.
//! The bytes of entries ([`payload`]), messages ([`message`]) and snapshots ([`snapshot`]) are
//! ours, versioned, and tested against golden bytes.

mod acknowledged;
mod heartbeat;
mod keys;
mod leader_liveness;
mod log;
mod machine;
mod message;
mod meta;
mod network;
mod node;
mod observe;
mod payload;
mod peer_addresses;
mod proposer;
mod purge;
mod receiver;
mod reconfig;
mod restored;
mod running;
mod runtime;
mod snapshot;
mod trace_steps;
mod types;
mod validate;

#[cfg(test)]
mod tests;

pub use machine::refresh;
pub use message::is_heartbeat;
pub use node::{NoReadIndex, RaftNode, RaftOptions, Sink, StartError};
pub use receiver::RaftReceiver;
pub use restored::restored_rows;
