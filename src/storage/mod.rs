//! The two storage seams and their real implementations.
//!
//! - [`disk::Disk`]: files under the raft log and the vote. Simulation lies below it (torn tails,
//!   lost syncs, bit rot).
//! - [`log::Log`]: the raft log and the vote, over any disk.
//! - [`conformance`]: what every implementation of the two seams must pass.
//! - [`store::Store`]: tables under the applied state; fjall in production.
//! - [`descriptors`]: how many file descriptors both need.

mod advice;
pub mod conformance;
pub mod descriptors;
pub mod disk;
pub mod log;
pub mod store;

pub use advice::{RESTORE, advice};
