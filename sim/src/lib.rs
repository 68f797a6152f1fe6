//! The deterministic simulator of detcd.
//!
//! A run takes a scenario and a seed, and starts a whole cluster of real nodes in one thread:
//! core, raft glue, driver, codec and storage log are the production code; network, disks, stores
//! and clocks are simulated here. Everything that happens is a function of the binary, the
//! scenario and the seed.
//!
//! # Where chance could leak in, and what keeps it out
//!
//! | leak | closed by | kept closed by |
//! |--|--|--|
//! | state left over between runs | a process for each run ([`series`]) | `--twice` compares fresh processes |
//! | keys of hash maps, and with them the wakes of tokio's `watch` | a thread for each run (`alone`) | the trace has the keys; tests/tidy bans hash maps |
//! | unbiased `select!` | `biased;`, with the arms in order | tests/tidy |
//! | true clocks | node clocks in `detcd_rt`, true time in [`time`] | tests/tidy |
//! | `thread_rng` and other entropy | `detcd_rt::random_u64`, [`rng`] | tests/tidy; the trace has the engine's draws |
//! | threads | `detcd_rt::spawn`, `spawn_io` | tests/tidy; the engine refuses them |
//! | one more draw shifts all others | each part has a stream by name ([`rng`]) | tests of the plan |
//! | `RUSTFLAGS` overriding the simulator's cfg | `cargo sim` refuses to run | `cargo ci` refuses, too |
//! | a second run that ends early | the trace has a length beside its hash | test of the digest |

#[cfg(madsim)]
pub mod alone;
pub mod audit;
#[cfg(madsim)]
pub mod bench;
#[cfg(madsim)]
pub mod buggify;
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
pub mod judge;
pub mod ledger;
#[cfg(madsim)]
pub mod load;
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
pub mod outlook;
#[cfg(madsim)]
pub mod pace;
pub mod patience;
#[cfg(madsim)]
pub mod planted;
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
