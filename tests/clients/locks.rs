//! Locks and elections of etcdctl, which makes them of leases and transactions, and of the service:
//! they exclude each other.

use crate::cluster::{Cluster, WAIT_MAX, eventually, get};
use crate::three;
use crate::tools::{Tool, find};
use detcd_wire::v3electionpb::election_client::ElectionClient;
use detcd_wire::v3lockpb::lock_client::LockClient;
use detcd_wire::{v3electionpb as election, v3lockpb as lock};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// etcdctl 3.5.1, where it is there, and detcdctl.
fn programs(test: &str) -> Vec<PathBuf> {
    let etcdctl = find(Tool::Etcd, test).map(|etcd| etcd.with_file_name("etcdctl"));
    let detcdctl = env!("CARGO_BIN_EXE_detcdctl").into();
    etcdctl.into_iter().chain([detcdctl]).collect()
}

/// An etcdctl that holds something until it is interrupted.
struct Holder {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Holder {
    fn start(program: &Path, endpoints: &str, arguments: &[&str]) -> Holder {
        let mut child = Command::new(program)
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", endpoints])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Holder { child, lines }
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(WAIT_MAX, self.lines.next_line()).await;
        let line = line.expect("a line in time").expect("a pipe");
        line.expect("a line")
    }

    async fn interrupt(mut self) {
        let id = self.child.id().expect("it runs");
        let id = Pid::from_raw(id.cast_signed()).expect("a process");
        kill_process(id, Signal::INT).expect("our own child");
        let end = tokio::time::timeout(WAIT_MAX, self.child.wait()).await;
        end.expect("an end in time").expect("our own child");
    }
}

async fn queue_length(cluster: &Cluster, name: &str) -> i64 {
    let request = detcd_wire::etcdserverpb::RangeRequest {
        key: format!("{name}/").into(),
        range_end: format!("{name}0").into(),
        count_only: true,
        ..Default::default()
    };
    let found = cluster.nodes[0].kv().range(request).await;
    found.expect("a read").into_inner().count
}

#[tokio::test]
async fn locks_of_etcdctl_and_of_the_service_exclude_each_other() {
    let (cluster, endpoints) = three().await;
    for program in programs("locks_of_etcdctl_and_of_the_service_exclude_each_other") {
        lock_in_turn(&cluster, &endpoints, &program).await;
    }
}

async fn lock_in_turn(cluster: &Cluster, endpoints: &str, program: &Path) {
    let mut holder = Holder::start(program, endpoints, &["lock", "m"]);
    assert!(holder.line().await.starts_with("m/"));
    let mut locks = LockClient::new(cluster.nodes[1].channel());
    let request = lock::LockRequest {
        name: "m".into(),
        lease: 0,
    };
    let waiting = tokio::spawn(async move { locks.lock(request).await });
    eventually("two keys", || async {
        (queue_length(cluster, "m").await == 2).then_some(())
    })
    .await;
    assert!(!waiting.is_finished());
    holder.interrupt().await;
    let ours = tokio::time::timeout(WAIT_MAX, waiting).await;
    let ours = ours.expect("in time").expect("no panic").expect("a lock");
    let ours = ours.into_inner().key;

    let mut waiter = Holder::start(program, endpoints, &["lock", "m"]);
    eventually("two keys", || async {
        (queue_length(cluster, "m").await == 2).then_some(())
    })
    .await;
    let mut locks = LockClient::new(cluster.nodes[2].channel());
    let unlocked = locks.unlock(lock::UnlockRequest { key: ours }).await;
    unlocked.expect("unlocked");
    assert!(waiter.line().await.starts_with("m/"));
    waiter.interrupt().await;
    assert_eq!(queue_length(cluster, "m").await, 0);
}

#[tokio::test]
async fn elections_of_etcdctl_and_of_the_service_are_one() {
    let (cluster, endpoints) = three().await;
    for program in programs("elections_of_etcdctl_and_of_the_service_are_one") {
        elect_in_turn(&cluster, &endpoints, &program).await;
    }
}

/// A program that holds the lock only while another runs ends as that one does.
#[tokio::test]
async fn a_lock_is_held_while_a_program_runs() {
    let (cluster, endpoints) = three().await;
    let mut seen = Vec::new();
    for program in programs("a_lock_is_held_while_a_program_runs") {
        let said = Command::new(&program)
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &endpoints, "lock", "held", "--", "sh", "-c"])
            .arg("echo ${ETCD_LOCK_KEY%/*} $((ETCD_LOCK_REV > 1)); exit 7")
            .output();
        let said = said.await.expect("it starts");
        let unknown = ["--endpoints", &endpoints, "lock", "held", "/nonexistent"];
        let refused = Command::new(&program)
            .env("ETCDCTL_API", "3")
            .args(unknown)
            .output();
        let refused = refused.await.expect("it starts");
        for output in [said, refused] {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            // Go's client logs beside what it says.
            let err = text(&output.stderr);
            let err: Vec<&str> = err.lines().filter(|line| !line.starts_with('{')).collect();
            seen.push((text(&output.stdout), err.join("\n"), output.status.code()));
        }
        assert_eq!(queue_length(&cluster, "held").await, 0);
    }
    let exit = (
        "held 1\n".to_owned(),
        "Error: exit status 7".to_owned(),
        Some(7),
    );
    let start = "Error: fork/exec /nonexistent: no such file or directory";
    let start = (String::new(), start.to_owned(), Some(1));
    for seen in seen.chunks(2) {
        assert_eq!(seen, [exit.clone(), start.clone()]);
    }
}

async fn elect_in_turn(cluster: &Cluster, endpoints: &str, program: &Path) {
    let mut observer = Holder::start(program, endpoints, &["elect", "-l", "e"]);
    let mut elections = ElectionClient::new(cluster.nodes[0].channel());
    let request = election::CampaignRequest {
        name: "e".into(),
        lease: 0,
        value: "ours".into(),
    };
    let led = elections.campaign(request).await.expect("elected");
    let leader = led.into_inner().leader.expect("a leader");
    let key = String::from_utf8(leader.key.to_vec()).expect("text");
    assert_eq!(
        [observer.line().await, observer.line().await],
        [key, "ours".to_owned()]
    );
    let mut candidate = Holder::start(program, endpoints, &["elect", "e", "theirs"]);
    eventually("two keys", || async {
        (queue_length(cluster, "e").await == 2).then_some(())
    })
    .await;
    let request = election::ProclaimRequest {
        leader: Some(leader.clone()),
        value: "again".into(),
    };
    elections.proclaim(request).await.expect("proclaimed");
    observer.line().await;
    assert_eq!(observer.line().await, "again");
    let request = election::ResignRequest {
        leader: Some(leader),
    };
    elections.resign(request).await.expect("resigned");
    let key = candidate.line().await;
    assert_eq!(candidate.line().await, "theirs");
    assert_eq!(
        [observer.line().await, observer.line().await],
        [key.clone(), "theirs".to_owned()]
    );
    let value = get(&mut cluster.nodes[2].kv(), &key).await;
    assert_eq!(value.expect("a read").as_deref(), Some("theirs"));
    observer.interrupt().await;
    candidate.interrupt().await;
    assert_eq!(queue_length(cluster, "e").await, 0);
}
