//! The same input to detcd and to real etcd 3.5.1 (3.4.23 for v2): equal outcomes, or a difference that
//! `docs/compatibility.md` states.

#[path = "../tools/certificates.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod certificates;
#[path = "../process/cluster.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod cluster;
#[path = "../tools/console.rs"]
mod console;
#[path = "../tools/mod.rs"]
#[allow(dead_code, reason = "other tests use the other tools")]
mod tools;

mod auth;
mod costs;
mod ctl_v2;
mod data_dirs;
mod descriptors;
mod downgrade;
mod endpoints;
mod full_disk;
mod gateway;
mod http2;
mod keys;
mod locks;
mod operations_guide;
mod peer_port;
mod ranges;
mod reach;
mod restart;
mod restore;
#[path = "../process/small_disk.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod small_disk;
mod snapshot;
mod space;
mod tcp_gateway;
mod tells;
mod tls;
mod unix_sockets;
mod v2_auth;
mod v2_generated;
mod v2_keys;
mod v2_members;
mod v2_stats;
