//! The deterministic simulator of detcd.
//!
//! A run takes a scenario and a seed, and starts a whole cluster of real nodes in one thread:
//! core, raft glue, driver, codec and storage log are the production code; network, disks, stores
//! and clocks are simulated here. Everything that happens is a function of the binary, the
//! scenario and the seed.

pub mod disk;
pub mod net;
pub mod rng;
pub mod store;
pub mod time;
pub mod trace;
