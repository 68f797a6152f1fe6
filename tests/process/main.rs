//! Tests of the real program: real processes, real sockets, real disks.

#[path = "../tools/certificates.rs"]
mod certificates;
mod cluster;
#[path = "../tools/console.rs"]
mod console;
#[path = "../tools/mod.rs"]
#[allow(dead_code, reason = "other tests use the other tools")]
mod tools;

mod abuse;
mod auth;
mod auth_methods;
mod closed_pipe;
mod compression;
mod config;
mod crowd;
mod ctl_v2;
mod damage;
mod deadline;
mod disaster;
mod discovery;
mod dns;
mod dns_server;
mod errors;
mod free_space;
mod guides;
mod identity;
mod leaderless;
mod lifecycle;
mod long_polls;
mod members;
mod metrics;
mod mutants;
mod old_data;
mod peers;
mod quota;
mod small_disk;
mod start;
mod tls;
mod v2;
