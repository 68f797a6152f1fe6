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
//! | keys of hash maps, and with them the wakes of tokio's `watch` | a thread for each run (`run_thread`) | the trace has the keys; tests/tidy bans hash maps |
//! | unbiased `select!` | `biased;`, with the arms in order | tests/tidy |
//! | true clocks | node clocks in `detcd_rt`, true time in [`time`] | tests/tidy |
//! | `thread_rng` and other entropy | `detcd_rt::random_u64`, [`rng`] | tests/tidy; the trace has the engine's draws |
//! | threads | `detcd_rt::spawn`, `spawn_io` | tests/tidy; the engine refuses them |
//! | one more draw shifts all others | each part has a stream by name ([`rng`]) | tests of the plan |
//! | `RUSTFLAGS` overriding the simulator's cfg | `cargo sim` refuses to run | `cargo ci` refuses, too |
//! | a second run that ends early | the trace has a length beside its hash | test of the digest |

pub mod applied_revisions;
pub mod audit;
#[cfg(madsim)]
pub mod bench;
#[cfg(madsim)]
pub mod buggify;
#[cfg(madsim)]
pub mod catch_up;
pub mod check;
pub mod client;
pub mod client_records;
#[cfg(madsim)]
pub mod clients;
#[cfg(madsim)]
pub mod cluster;
pub mod cluster_calls;
pub mod conditions;
pub mod disk;
pub mod explain;
pub mod fault;
pub mod framing;
pub mod history;
pub mod judge;
#[cfg(madsim)]
pub mod load;
#[cfg(madsim)]
pub mod machine;
pub mod model;
pub mod net;
pub mod observer;
#[cfg(madsim)]
pub mod operator;
#[cfg(madsim)]
pub mod planted;
#[cfg(madsim)]
pub mod print_trace;
pub mod profile;
pub mod quorum_loss;
pub mod report;
pub mod rng;
#[cfg(madsim)]
pub mod run;
pub mod run_facts;
pub mod run_record;
#[cfg(madsim)]
pub mod run_thread;
pub mod scenario;
pub mod series;
#[cfg(madsim)]
pub mod shrink;
#[cfg(madsim)]
pub mod single_run;
pub mod start;
pub mod store;
pub mod time;
pub mod timeline;
pub mod timeouts;
pub mod trace;
pub mod v2_calls;
pub mod verdict;
pub mod workload;
