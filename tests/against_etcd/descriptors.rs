//! Few file descriptors and many connections: storage gets what it needs, and so do the members.

use crate::cluster::{Cluster, Node, eventually, get, http_get, put, read};
use crate::tools::{self, Tool};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// What the shell may do before it becomes the program.
const FEW: &str = "ulimit -n 400";
const IDLE: usize = 600;
const WRITES: usize = 300;

/// A program that does what `first` says and then becomes `program`.
pub fn wrapped(folder: &Path, first: &str, program: &Path) -> PathBuf {
    let path = folder.join("wrapped");
    let script = format!("#!/bin/sh\n{first}\nexec {} \"$@\"\n", program.display());
    fs::write(&path, script).expect("a script");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&path, executable).expect("our own file");
    path
}

fn detcd() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_detcd"))
}

/// Connections that say nothing. The kernel keeps those that the member does not take.
async fn idle(port: u16, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        streams.push(stream.expect("the kernel takes it"));
    }
    streams
}

/// How many descriptors of the process are open, or what it was meanwhile.
fn open_files(node: &Node) -> usize {
    let pid = fs::read_to_string(node.data_dir.with_extension("pid")).expect("a process id");
    let folder = fs::read_dir(format!("/proc/{}/fd", pid.trim()));
    folder.map_or(0, |entries| entries.count())
}

/// A client that was there first writes on while a crowd says nothing; once the crowd is gone, new
/// clients are served. `at_once`: and while it is there, too.
async fn a_crowd_costs_a_writer_nothing(program: &Path, at_once: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = wrapped(folder.path(), FEW, program);
    let mut cluster = Cluster::of(program, 1, &[]);
    cluster.start(0);
    cluster.wait_healthy().await;
    let node = &cluster.nodes[0];
    let mut writer = node.kv();
    put(&mut writer, "a", "1").await.expect("a write");
    let crowd = idle(node.client_port, IDLE).await;
    let value = "x".repeat(100_000);
    for n in 0..WRITES {
        let written = put(&mut writer, &format!("k{n}"), &value).await;
        written.unwrap_or_else(|error| panic!("write {n}: {error}"));
    }
    if at_once {
        node.wait_healthy().await;
    }
    drop(crowd);
    node.wait_healthy().await;
    let value = get(&mut node.kv(), "a").await.expect("a new client");
    assert_eq!(value.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_crowd_of_idle_clients_costs_a_writer_nothing() {
    a_crowd_costs_a_writer_nothing(detcd(), true).await;
    if let Some(etcd) = tools::find(Tool::Etcd, "a crowd of idle clients") {
        a_crowd_costs_a_writer_nothing(&etcd, false).await;
    }
}

fn of_three(folder: &TempDir) -> Cluster {
    let first = format!(
        "{FEW}\nfor flag in \"$@\"; do case $flag in --data-dir=*) dir=${{flag#*=}};; esac; done\n\
         echo $$ > ${{dir%.etcd}}.pid"
    );
    Cluster::of(wrapped(folder.path(), &first, detcd()), 3, &[])
}

/// Both ports of a follower are crowded; it goes on following.
#[tokio::test]
async fn a_crowd_on_both_ports_does_not_take_a_follower_down() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut cluster = of_three(&folder);
    (0..3).for_each(|i| cluster.start(i));
    cluster.wait_healthy().await;
    let leader = eventually("a leader", || async {
        let status = cluster.nodes[0].status().await?;
        for (i, node) in cluster.nodes.iter().enumerate() {
            let header = node.status().await?.header?;
            if header.member_id == status.leader {
                return Some(i);
            }
        }
        None
    })
    .await;
    let follower = &cluster.nodes[(leader + 1) % 3];
    let mut reader = follower.kv();
    let mut writer = cluster.nodes[leader].kv();
    read(&mut reader, "a", true).await.expect("a read");
    let log = follower.log();
    let limits = "connections are limited by the file descriptors that storage leaves";
    assert!(log.contains(limits), "{log}");
    let _clients = idle(follower.client_port, IDLE).await;
    let _peers = idle(follower.peer_port, IDLE / 4).await;
    let value = "x".repeat(100_000);
    let mut open_max = 0;
    for n in 0..WRITES {
        let written = put(&mut writer, &format!("k{n}"), &value).await;
        written.unwrap_or_else(|error| panic!("write {n}: {error}"));
        open_max = open_max.max(open_files(follower));
    }
    eventually("the follower has the last write", || {
        let mut reader = reader.clone();
        async move {
            let last = read(&mut reader, &format!("k{}", WRITES - 1), true).await;
            last.expect("the follower serves").map(|_| ())
        }
    })
    .await;
    eprintln!("{open_max} descriptors at most");
    assert!((200..350).contains(&open_max), "{open_max} descriptors");
    // Another member would get in as well.
    let peer_port = follower.peer_port;
    eventually("a page of the peer port", || {
        http_get(peer_port, "/members")
    })
    .await;
    // Its connections to the others hold: it takes part in what needs all of them.
    let mut both = reader.clone();
    let value = tokio::time::timeout(Duration::from_secs(10), get(&mut both, "k0")).await;
    assert!(value.expect("in time").expect("a leader").is_some());
}

/// How a member with 100 descriptors ends, and what it says.
async fn start_with_few(program: &Path) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = wrapped(folder.path(), "ulimit -n 100", program);
    let mut cluster = Cluster::of(program, 1, &[]);
    cluster.start(0);
    let status = cluster.nodes[0].wait().await;
    (status.code(), cluster.nodes[0].log())
}

#[tokio::test]
async fn too_few_descriptors_are_refused_at_the_start() {
    let words = "file descriptor limit of etcd process is too low; please set higher";
    let (code, log) = start_with_few(detcd()).await;
    assert!(code == Some(1) && log.contains(words), "{code:?}: {log}");
    if let Some(etcd) = tools::find(Tool::Etcd, "too few descriptors") {
        let (code, log) = start_with_few(&etcd).await;
        assert!(code == Some(1) && log.contains(words), "{code:?}: {log}");
    }
}
