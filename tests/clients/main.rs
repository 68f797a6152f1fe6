//! Clients that other people wrote, against a cluster of three members: Debian's etcdctl, PyPI's
//! etcd3, python-etcd, etcd3gw and tooz, npm's node-etcd and the crate etcd-client. None of them knows that
//! it is not talking to etcd.

#[path = "../tools/certificates.rs"]
#[allow(dead_code, reason = "other tests revoke certificates")]
mod certificates;
#[path = "../process/cluster.rs"]
#[allow(dead_code, reason = "other tests stop and start members")]
mod cluster;
mod crate_etcd_client;
mod detcdctl;
mod etcdctl;
mod locks;
mod node_etcd;
mod python_etcd;
mod python_etcd3;
mod python_etcd3gw;
#[path = "../tools/mod.rs"]
#[allow(dead_code, reason = "other tests use the other tools")]
mod tools;
mod users;

use cluster::Cluster;
use std::process::Output;

/// Three members that serve, and their endpoints as clients are given them.
async fn three() -> (Cluster, String) {
    let cluster = Cluster::started(3, &[]).await;
    let endpoints: Vec<String> = cluster
        .nodes
        .iter()
        .map(|node| format!("127.0.0.1:{}", node.client_port))
        .collect();
    (cluster, endpoints.join(","))
}

fn succeeded(what: &str, output: &Output) {
    assert!(
        output.status.success(),
        "{what}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
