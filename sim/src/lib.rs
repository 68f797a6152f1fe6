//! The deterministic simulator of detcd.
//!
//! A run takes a scenario and a seed, and starts a whole cluster of real nodes in one thread:
//! core, raft glue, driver, codec and storage log are the production code; network, disks, stores
//! and clocks are simulated here. Everything that happens is a function of the binary, the
//! scenario and the seed.

#[cfg(madsim)]
pub mod alone;
pub mod audit;
#[cfg(madsim)]
pub mod bench;
pub mod check;
pub mod chronicle;
pub mod client;
#[cfg(madsim)]
pub mod cluster;
pub mod conditions;
pub mod disk;
pub mod evidence;
pub mod explain;
pub mod fault;
pub mod history;
pub mod insight;
pub mod ledger;
#[cfg(madsim)]
pub mod look;
#[cfg(madsim)]
pub mod machine;
pub mod model;
pub mod net;
pub mod observer;
#[cfg(madsim)]
pub mod one;
#[cfg(madsim)]
pub mod operator;
pub mod profile;
pub mod protocol;
pub mod report;
pub mod rng;
#[cfg(madsim)]
pub mod run;
pub mod scenario;
pub mod series;
pub mod server;
#[cfg(madsim)]
pub mod shrink;
#[cfg(madsim)]
pub mod stage;
pub mod store;
pub mod time;
pub mod timeline;
pub mod trace;
pub mod verdict;
pub mod workload;
