//! The ways to start a member that walkthroughs show, and what it logs then.

use crate::cluster::{Cluster, Node, eventually, put_eventually};
use crate::members::ctl;
use std::fs;
use std::process::Command;

/// The lines of a log in etcd's old shape, without their times.
fn lines(log: &str) -> Vec<String> {
    log.lines()
        .filter_map(|line| Some(line.get(27..)?.to_owned()))
        .collect()
}

/// These lines stand in the log, in this order.
fn assert_in_order(log: &str, wanted: &[String]) {
    let lines = lines(log);
    let mut rest = lines.iter();
    for line in wanted {
        assert!(rest.any(|found| found == line), "{line:?} in {lines:#?}");
    }
}

fn own_flags(node: &Node) -> Vec<String> {
    let (client, peer) = (node.client_url(), node.peer_url());
    let flags = [
        format!("-listen-client-urls={client}"),
        format!("-advertise-client-urls={client}"),
        format!("-listen-peer-urls={peer}"),
        format!("-initial-advertise-peer-urls={peer}"),
        "-log-format=capnslog".to_owned(),
    ];
    Vec::from(flags)
}

#[tokio::test]
async fn a_start_is_logged_as_etcd_3_3_did_it() {
    let mut cluster = Cluster::new(1, &[]);
    let node = &mut cluster.nodes[0];
    let flags = own_flags(node);
    let variables = [("ETCD_NAME", "etcd1"), ("ETCD_BOGUS", "1")];
    node.spawn_with(&flags, &variables);
    node.wait_for_log("ready to serve client requests").await;
    let (client, peer) = (node.client_port, node.peer_url());
    let log = node.log();
    let started = lines(&log)
        .into_iter()
        .find(|line| line.starts_with("I | etcdserver: starting member "))
        .expect("it says who it is");
    let wanted = [
        "W | flags: unrecognized environment variable ETCD_BOGUS=1".to_owned(),
        "I | flags: recognized and used environment variable ETCD_NAME=etcd1".to_owned(),
        format!("I | etcdmain: detcd Version: {}", env!("CARGO_PKG_VERSION")),
        "W | etcdmain: no data-dir provided, using default data-dir ./etcd1.etcd".to_owned(),
        format!("I | embed: listening for peers on {peer}"),
        format!("I | embed: listening for client requests on 127.0.0.1:{client}"),
        "I | etcdserver: name = etcd1".to_owned(),
        "I | etcdserver: data dir = etcd1.etcd".to_owned(),
        "I | etcdserver: member dir = etcd1.etcd/member".to_owned(),
        "I | etcdserver: heartbeat = 100ms".to_owned(),
        "I | etcdserver: election = 1000ms".to_owned(),
        "I | etcdserver: snapshot count = 10000".to_owned(),
        format!("I | etcdserver: advertise client URLs = http://127.0.0.1:{client}"),
        format!("I | etcdserver: initial advertise peer URLs = {peer}"),
        format!("I | etcdserver: initial cluster = etcd1={peer}"),
        started,
        "I | embed: ready to serve client requests".to_owned(),
    ];
    assert_in_order(&log, &wanted);
    let (status, _) = node.stop().await;
    assert!(status.success());
    let closing = "N | pkg/osutil: received terminated signal, shutting down...";
    assert_in_order(&node.log(), &[closing.to_owned()]);
}

#[tokio::test]
async fn a_flag_beats_a_variable_and_strict_env_makes_it_fatal() {
    let mut cluster = Cluster::new(1, &[]);
    let node = &mut cluster.nodes[0];
    let mut flags = own_flags(node);
    flags.push("-name=flag".to_owned());
    let variables = [("ETCD_NAME", "env")];
    let mut strict = flags.clone();
    strict.push("-strict-env".to_owned());
    node.spawn_with(&strict, &variables);
    assert_eq!(node.wait().await.code(), Some(1));
    let conflict = "E | etcdmain: error verifying flags, conflicting environment variable \
                    \"ETCD_NAME\" is shadowed by corresponding command-line flag (either unset \
                    environment variable or disable flag). See 'detcd --help'.";
    assert_in_order(&node.log(), &[conflict.to_owned()]);
    node.spawn_with(&flags, &variables);
    node.wait_healthy().await;
    let shadowed = "W | flags: recognized environment variable ETCD_NAME, but unused: shadowed by \
                    corresponding flag";
    let name = "I | etcdserver: name = flag".to_owned();
    assert_in_order(&node.log(), &[shadowed.to_owned(), name]);
}

#[tokio::test]
async fn the_flags_of_2013_start_a_member_that_logs_as_then() {
    let mut cluster = Cluster::new(1, &[]);
    let node = &mut cluster.nodes[0];
    let (client, peer) = (node.client_port, node.peer_port);
    let line = format!(
        "-data-dir {} -name machine1 -addr 127.0.0.1:{client} -peer-addr 127.0.0.1:{peer} -v",
        node.data_dir.display()
    );
    let flags: Vec<String> = line.split(' ').map(str::to_owned).collect();
    node.spawn(&flags);
    node.wait_healthy().await;
    let log = node.log();
    assert!(log.lines().all(|line| line.starts_with("[etcd] ")), "{log}");
    for line in [
        "WARNING   | flag \"-v\" is no longer supported - ignoring.".to_owned(),
        format!(
            "INFO      | etcd server [name machine1, listen on 127.0.0.1:{client}, advertised url \
             http://127.0.0.1:{client}]"
        ),
        format!(
            "INFO      | raft server [name machine1, listen on 127.0.0.1:{peer}, advertised url \
             http://127.0.0.1:{peer}]"
        ),
    ] {
        assert!(log.contains(&line), "{line:?} in {log}");
    }
    assert!(!log.contains("the entire cluster is down!"), "{log}");
    node.stop().await;
    node.spawn(&flags);
    node.wait_healthy().await;
    node.wait_for_log("the entire cluster is down!").await;
    let log = node.log();
    for line in [
        format!("INFO      | URLs: / machine1 (http://127.0.0.1:{peer})"),
        "WARNING   | the entire cluster is down! this peer will restart the cluster.".to_owned(),
    ] {
        assert!(log.contains(&line), "{line:?} in {log}");
    }
}

#[tokio::test]
async fn a_map_of_a_file_configures_a_member() {
    let mut cluster = Cluster::new(1, &[]);
    let node = &mut cluster.nodes[0];
    let (client, peer) = (node.client_url(), node.peer_url());
    let path = node.data_dir.with_extension("yml");
    let map = |name: &str| {
        format!(
            "etcd:\n  name: {name}\n  data_dir: {}\n  listen_client_urls: {client}\n  \
             advertise_client_urls: {client}\n  listen_peer_urls: {peer}\n  \
             initial_advertise_peer_urls: {peer}\n  initial_cluster: my-1={peer}\n  \
             initial_cluster_token: my-etcd-token\n  initial_cluster_state: new\n  \
             log_format: capnslog\n",
            node.data_dir.display()
        )
    };
    let (wrong, right) = (map("my-etcd-1"), map("my-1"));
    let flags = [format!("--config-file={}", path.display())];
    fs::write(&path, wrong).unwrap();
    node.spawn(&flags);
    assert_eq!(node.wait().await.code(), Some(1));
    let refusal = "C | etcdmain: couldn't find local name \"my-etcd-1\" in the initial cluster \
                   configuration";
    assert_in_order(&node.log(), &[refusal.to_owned()]);
    fs::write(&path, right).unwrap();
    node.spawn(&flags);
    node.wait_healthy().await;
}

#[tokio::test]
async fn a_removed_member_logs_what_etcd_logs_and_ends() {
    let mut cluster = Cluster::started(3, &["--log-format=capnslog"]).await;
    put_eventually(&cluster.nodes[0], "a", "1").await;
    let mut ids = Vec::new();
    for node in &cluster.nodes {
        let header = node.status().await.expect("it serves").header;
        ids.push(format!("{:x}", header.expect("a header").member_id));
    }
    let removed = eventually("the removal", || async {
        let output = ctl(&cluster.nodes[0], &["member", "remove", &ids[2]]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success() || said.contains("member not found")).then_some(())
    });
    removed.await;
    assert!(cluster.nodes[2].wait().await.success());
    let log = cluster.nodes[2].log();
    let text = "the member has been permanently removed from the cluster";
    for id in &ids[..2] {
        let dial = format!("E | rafthttp: failed to dial {id} on stream MsgApp v2 ({text})");
        let active = format!("I | rafthttp: the connection with {id} became active");
        assert_in_order(&log, &[active, dial]);
    }
    let advice = "I | etcdserver: the data-dir used by this member must be removed.";
    assert_in_order(
        &log,
        &[format!("E | etcdserver: {text}"), advice.to_owned()],
    );
}

#[test]
fn the_version_has_four_lines() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_detcd"));
    let output = command.arg("-version").output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("text");
    let names: Vec<&str> = text
        .lines()
        .map(|line| line.split_once(": ").expect("a name and a value").0)
        .collect();
    let wanted = ["detcd Version", "Git SHA", "Rust Version", "Rust OS/Arch"];
    assert_eq!(names, wanted);
}
