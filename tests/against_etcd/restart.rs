//! Members that stop and come back, detcd's and etcd's in turn.

use crate::cluster::{Cluster, WAIT_MAX, get_eventually, put, put_eventually};
use crate::tools::{Tool, find};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often a member is killed and comes back, of each program.
const ROUNDS: usize = 3;
/// Writes through the others while it is down.
const WRITES: usize = 200;
/// What detcd may take longer than etcd: the machine does other things, too. (What is measured on a
/// quiet one, and optimised, stands in `docs/compatibility.md`.)
const SLACK: Duration = Duration::from_secs(2);

/// How long a follower that was killed takes from its start to its first linearizable answer, at
/// best: the rest is what else the machine does.
async fn fastest_return(mut cluster: Cluster) -> Duration {
    (0..3).for_each(|i| cluster.start(i));
    cluster.wait_healthy().await;
    let leader = cluster.nodes[0].status().await.expect("a status").leader;
    let mut follower = None;
    for i in 0..3 {
        let status = cluster.nodes[i].status().await.expect("a status");
        if status.header.expect("a header").member_id != leader {
            follower = Some(i);
        }
    }
    let follower = follower.expect("one leads, two follow");
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        cluster.nodes[follower].kill();
        let mut kv = cluster.nodes[(follower + 1) % 3].kv();
        for i in 0..WRITES {
            let written = put(&mut kv, &format!("{round}/{i}"), "x").await;
            written.expect("two of three serve");
        }
        let begun = Instant::now();
        cluster.restart(follower);
        let last = format!("{round}/{}", WRITES - 1);
        let value = get_eventually(&cluster.nodes[follower], &last).await;
        times.push(begun.elapsed());
        assert_eq!(value.as_deref(), Some("x"));
    }
    println!("from the start to the first answer: {times:?}");
    times.into_iter().min().expect("there were rounds")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_comes_back_serves_about_as_soon_as_etcds() {
    let test = "a_follower_that_comes_back_serves_about_as_soon_as_etcds";
    let Some(etcd) = find(Tool::Etcd, test) else {
        return;
    };
    let detcd = PathBuf::from(env!("CARGO_BIN_EXE_detcd"));
    let theirs = fastest_return(Cluster::of(etcd, 3, &[])).await;
    let ours = fastest_return(Cluster::of(detcd, 3, &[])).await;
    assert!(ours < theirs + SLACK, "detcd {ours:?}, etcd {theirs:?}");
}

/// An election timeout that nobody can miss.
const LONG_ELECTION: [&str; 2] = ["--election-timeout=20000", "--heartbeat-interval=500"];

/// Puts through every member until it is told to stop.
fn load(cluster: &Cluster) -> Vec<tokio::task::JoinHandle<()>> {
    let kvs = cluster.nodes.iter().map(|node| node.kv());
    let writers = kvs.enumerate().map(|(writer, kv)| {
        tokio::spawn(async move {
            let mut pauses = tokio::time::interval(Duration::from_millis(2));
            for i in 0.. {
                pauses.tick().await;
                // A member that stops refuses it.
                let _ = put(&mut kv.clone(), &format!("{writer}/{i}"), "x").await;
            }
        })
    });
    writers.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_stop_without_an_error_and_wait_for_nobody() {
    let mut cluster = Cluster::started(3, &LONG_ELECTION).await;
    let writers = load(&cluster);
    put_eventually(&cluster.nodes[0], "before", "x").await;
    let leader = cluster.nodes[0].status().await.expect("a status").leader;
    let mut followers = Vec::new();
    let mut leads = None;
    for i in 0..3 {
        let status = cluster.nodes[i].status().await.expect("a status");
        match status.header.expect("a header").member_id == leader {
            true => leads = Some(i),
            false => followers.push(i),
        }
    }
    let leads = leads.expect("one of them leads");
    let (status, took) = cluster.nodes[followers[0]].stop().await;
    assert!(status.success() && took < WAIT_MAX / 8, "{status} {took:?}");
    // The other one goes without a word: there is nobody left to hand over to.
    cluster.nodes[followers[1]].kill();
    let (status, took) = cluster.nodes[leads].stop().await;
    assert!(status.success() && took < WAIT_MAX / 8, "{status} {took:?}");
    writers.iter().for_each(|writer| writer.abort());
    for i in [followers[0], leads] {
        let log = cluster.nodes[i].log();
        let errors = log
            .lines()
            .filter(|line| line.contains("\"level\":\"error\""));
        let errors: Vec<&str> = errors.collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
    let log = cluster.nodes[leads].log();
    assert!(log.contains("no other member is there"), "{log}");
}
