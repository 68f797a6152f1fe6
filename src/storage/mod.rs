//! The two storage seams and their real implementations.
//!
//! - [`disk::Disk`]: files under the raft log and the vote. Simulation lies below it (torn tails,
//!   lost syncs, bit rot).
//! - [`log::Log`]: the raft log and the vote, over any disk.
//! - [`store::Store`]: tables under the applied state; fjall in production.

pub mod disk;
pub mod log;
pub mod store;
