//! What the articles about etcd's first years show, with detcd in the place of etcd: every input as
//! it stands there, every output as it stands there, but for ids and addresses.

#[path = "../process/cluster.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod cluster;
#[path = "../tools/mod.rs"]
#[allow(dead_code, reason = "other tests use the other tools")]
mod tools;

mod etcd_0_2;
mod etcd_2_2;
mod etcdctl_v2;
