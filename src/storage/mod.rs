//! The two storage seams and their real implementations.
//!
//! - [`disk::Disk`]: files under the raft log and the vote. Simulation lies below it (torn tails,
//!   lost syncs, bit rot).
//! - [`store::Store`]: tables under the applied state; fjall in production.

pub mod disk;
pub mod store;
