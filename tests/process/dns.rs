//! Members that find each other by the SRV records of a domain.

use crate::cluster::{Cluster, Node, put_eventually};
use crate::dns_server::DnsServer;
use std::process::Command;

fn flags(node: &Node, domain: &str, server: &DnsServer) -> Vec<String> {
    let mut flags = node.own_flags();
    // As the records name it.
    let peer_url = format!("http://localhost:{}", node.peer_port);
    flags.push(format!("--initial-advertise-peer-urls={peer_url}"));
    flags.push(format!("-discovery-srv={domain}"));
    flags.push("-discovery-srv-name=x".to_owned());
    flags.push(format!("-discovery-srv-server={}", server.address));
    flags.push("-initial-cluster-token=by-dns".to_owned());
    flags
}

#[tokio::test]
async fn srv_records_name_the_members_and_the_endpoints() {
    let mut cluster = Cluster::new(3, &[]);
    let ports = |port: fn(&Node) -> u16| cluster.nodes.iter().map(port).collect::<Vec<u16>>();
    let server = DnsServer::started(vec![
        (
            "_etcd-server-x._tcp.example.com".to_owned(),
            ports(|node| node.peer_port),
        ),
        (
            "_etcd-client-x._tcp.example.com".to_owned(),
            ports(|node| node.client_port),
        ),
        (
            "_etcd-client._tcp.example.com".to_owned(),
            ports(|node| node.client_port),
        ),
    ])
    .await;
    for node in &mut cluster.nodes {
        let flags = flags(node, "example.com", &server);
        node.spawn(&flags);
    }
    cluster.wait_healthy().await;
    put_eventually(&cluster.nodes[1], "a", "by DNS").await;
    let address = server.address.to_string();
    let get = move || {
        let mut ctl = Command::new(env!("CARGO_BIN_EXE_detcdctl"));
        ctl.env("DETCDCTL_DNS_SERVER", address);
        ctl.args("-d example.com --discovery-srv-name x get a".split(' '));
        ctl.output().expect("detcdctl starts")
    };
    let output = tokio::task::spawn_blocking(get).await.unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "a\nby DNS\n",
        "{output:?}"
    );
    // The v2 commands look up the same records.
    for (flag, out, err) in [
        ("--insecure-discovery", "v2\n", ""),
        ("--insecure-discovery=false", "", "ignoring discovered"),
    ] {
        let address = server.address.to_string();
        let set = move || {
            let mut ctl = Command::new(env!("CARGO_BIN_EXE_detcdctl"));
            ctl.env("DETCDCTL_DNS_SERVER", address);
            ctl.args([
                "--discovery-srv=example.com",
                flag,
                "--endpoint=http://127.0.0.1:1",
            ]);
            ctl.args(["set", "/a", "v2"]);
            ctl.output().expect("detcdctl starts")
        };
        let output = tokio::task::spawn_blocking(set).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), out, "{output:?}");
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(complaints.starts_with(err), "{complaints}");
    }
}

#[tokio::test]
async fn a_domain_without_records_is_told() {
    let server = DnsServer::started(Vec::new()).await;
    let mut cluster = Cluster::new(1, &[]);
    let node = &mut cluster.nodes[0];
    let flags = flags(node, "nowhere.example", &server);
    node.spawn(&flags);
    assert_eq!(node.wait().await.code(), Some(1));
    let log = node.log();
    let why = "error querying DNS SRV records for _etcd-server-x lookup \
               _etcd-server-x._tcp.nowhere.example: no such host";
    assert!(log.contains(why), "{log}");
}
