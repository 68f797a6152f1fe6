//! What members survive: being killed again and again under load, in the middle of a snapshot, and
//! a disk that is full. Whatever was acknowledged is there afterwards.

use crate::cluster::{Cluster, Node, WAIT_MAX, eventually, get, put, put_eventually};
use crate::small_disk::Confined;
use bytes::Bytes;
use detcd_wire::etcdserverpb as pb;
use pb::kv_client::KvClient;
use pb::maintenance_client::MaintenanceClient;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tonic::transport::Channel;

/// How often all members are killed; more with `DETCD_TEST_KILL_ROUNDS`.
const KILL_ROUNDS: usize = 4;
/// Acknowledged puts between two kills.
const PUTS_PER_ROUND: usize = 60;
const WRITERS: usize = 4;

/// The number that a variable of the environment gives.
pub fn number(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => default,
    }
}

/// The load: writers that put new keys one after the other, each through another member, and what
/// was acknowledged to them.
struct Load {
    acknowledged: Arc<Mutex<BTreeMap<String, String>>>,
    count: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    writers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(cluster: &Cluster) -> Load {
        let mut load = Load {
            acknowledged: Arc::default(),
            count: Arc::default(),
            stop: Arc::default(),
            writers: Vec::new(),
        };
        for writer in 0..WRITERS {
            let mut kv = cluster.nodes[writer % cluster.nodes.len()].kv();
            let (acknowledged, count) = (load.acknowledged.clone(), load.count.clone());
            let stop = load.stop.clone();
            load.writers.push(tokio::spawn(async move {
                let mut pauses = tokio::time::interval(std::time::Duration::from_millis(10));
                for i in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let (key, value) = (format!("w{writer}/{i:06}"), format!("{writer} {i}"));
                    match put(&mut kv, &key, &value).await {
                        Ok(_) => {
                            acknowledged.lock().expect("no panic").insert(key, value);
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        // What became of it is not known. Without a pause a member that is down
                        // would be asked without end.
                        Err(_) => drop(pauses.tick().await),
                    }
                }
            }));
        }
        load
    }

    async fn wait_for(&self, count: usize) {
        eventually(&format!("{count} acknowledged puts"), || async {
            (self.count.load(Ordering::Relaxed) >= count).then_some(())
        })
        .await;
    }

    fn acknowledged(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Ends the load and gives what was acknowledged.
    async fn end(self) -> BTreeMap<String, String> {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers {
            writer.await.expect("a writer without panic");
        }
        let acknowledged = self.acknowledged.lock().expect("no panic");
        acknowledged.clone()
    }
}

/// Everything that is stored, as `node` serves it.
async fn everything(node: &Node) -> BTreeMap<String, String> {
    let read = async || {
        let request = pb::RangeRequest {
            key: Bytes::from_static(b"\0"),
            range_end: Bytes::from_static(b"\0"),
            ..Default::default()
        };
        let mut kv = node.kv().max_decoding_message_size(usize::MAX);
        kv.range(request).await.ok()
    };
    let response = eventually("everything that is stored", read).await;
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("text");
    let kvs = response.into_inner().kvs.into_iter();
    kvs.map(|kv| (text(kv.key), text(kv.value))).collect()
}

async fn assert_nothing_lost(node: &Node, acknowledged: &BTreeMap<String, String>) {
    let stored = everything(node).await;
    for (key, value) in acknowledged {
        assert_eq!(
            stored.get(key),
            Some(value),
            "{key} was acknowledged; {} serves",
            node.name
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_are_killed_again_and_again_under_load() {
    let mut cluster = Cluster::started(3, &["--snapshot-count=100"]).await;
    let load = Load::start(&cluster);
    for _ in 0..number("DETCD_TEST_KILL_ROUNDS", KILL_ROUNDS) {
        let enough = load.acknowledged() + PUTS_PER_ROUND;
        load.wait_for(enough).await;
        cluster.nodes.iter_mut().for_each(Node::kill);
        (0..3).for_each(|i| cluster.restart(i));
    }
    let enough = load.acknowledged() + PUTS_PER_ROUND;
    load.wait_for(enough).await;
    let acknowledged = load.end().await;
    cluster.wait_healthy().await;
    for node in &cluster.nodes {
        assert_nothing_lost(node, &acknowledged).await;
    }
}

/// Text that does not compress much, so that a state has a size.
fn noise(salt: usize) -> String {
    let mut state = salt as u64 + 1;
    let mut letter = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + (state >> 58) as u8)
    };
    (0..64 * 1024).map(|_| letter()).collect()
}

async fn hash(node: &Node, revision: i64) -> Option<(u32, i64)> {
    let mut client = MaintenanceClient::new(node.channel());
    let request = pb::HashKvRequest { revision };
    let hash = client.hash_kv(request).await.ok()?.into_inner();
    Some((hash.hash, hash.hash_revision))
}

#[tokio::test]
async fn a_member_killed_while_it_receives_a_snapshot_receives_it_again() {
    const KILLS: usize = 3;
    let flags = ["--snapshot-count=50", "--snapshot-catchup-entries=5"];
    let mut cluster = Cluster::started(3, &flags).await;
    put_eventually(&cluster.nodes[2], "before", "x").await;
    cluster.nodes[2].kill();
    let rest = &cluster.nodes[0];
    for i in 0..300 {
        put_eventually(rest, &format!("k{i:03}"), &noise(i)).await;
    }
    let wanted = eventually("a hash", || hash(rest, 0)).await;
    let received = |node: &Node| node.log().matches("receiving a snapshot").count();
    for _ in 0..KILLS {
        let before = received(&cluster.nodes[2]);
        cluster.restart(2);
        let node = &cluster.nodes[2];
        eventually("a snapshot on its way", || async {
            (received(node) > before).then_some(())
        })
        .await;
        cluster.nodes[2].kill();
    }
    cluster.restart(2);
    let node = &cluster.nodes[2];
    eventually("the same hash on the member that was killed", || async {
        (hash(node, wanted.1).await? == wanted).then_some(())
    })
    .await;
    node.wait_healthy().await;
    put_eventually(node, "after", "x").await;
}

/// Puts until the member is gone; gives what was acknowledged.
async fn fill(kv: &mut KvClient<Channel>) -> BTreeMap<String, String> {
    let mut acknowledged = BTreeMap::new();
    let deadline = Instant::now() + WAIT_MAX;
    for i in 0.. {
        assert!(Instant::now() < deadline, "the disk is never full");
        let (key, value) = (format!("k{i:05}"), noise(i));
        match put(kv, &key, &value).await {
            Ok(_) => acknowledged.insert(key, value),
            Err(_) => break,
        };
    }
    acknowledged
}

/// What halted the member and what it ended with: cause, path and advice in one line each.
fn assert_cause(log: &str, cause: &str, advice: &str, node: &Node) {
    let data_dir = node.data_dir.display().to_string();
    for line in ["member halts", "failed to serve"] {
        let line = log.lines().find(|it| it.contains(line)).expect("the line");
        for part in [cause, advice, &data_dir] {
            assert!(line.contains(part), "no {part:?} in {line}");
        }
    }
}

/// The store's own threads meet the error: what they refuse later names it.
#[tokio::test]
async fn too_many_open_files_end_the_member_with_cause_and_advice() {
    let mut cluster = Cluster::started(1, &[]).await;
    let mut kv = cluster.nodes[0].kv();
    put(&mut kv, "before", "x").await.expect("a put");
    cluster.nodes[0].limit_open_files(1);
    let value = "v".repeat(1 << 20);
    let deadline = Instant::now() + WAIT_MAX;
    for i in 0.. {
        assert!(Instant::now() < deadline, "it never needs another file");
        if put(&mut kv, &format!("k{i}"), &value).await.is_err() {
            break;
        }
    }
    let node = &mut cluster.nodes[0];
    assert_eq!(node.wait().await.code(), Some(1), "{}", node.log());
    let advice = "raise the limit of open files";
    assert_cause(&node.log(), "Too many open files", advice, node);
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_says_so() {
    let cluster = Cluster::new(1, &[]);
    let Some(confined) = Confined::spawn(&cluster, "400m", "a_full_disk_loses_nothing") else {
        return;
    };
    let node = &cluster.nodes[0];
    node.wait_healthy().await;
    confined.fill_up(4 << 20);
    let acknowledged = fill(&mut node.kv()).await;
    node.wait_for_log("failed to serve").await;
    assert_cause(&node.log(), "No space left on device", "make room", node);
    // Only now, with room again, can the second process serve.
    node.wait_healthy().await;
    assert!(!acknowledged.is_empty());
    assert_nothing_lost(node, &acknowledged).await;
    let mut kv = node.kv();
    put(&mut kv, "after", "x").await.expect("there is room");
    // Nobody has gone on to send messages to the engine that had ended.
    assert!(!node.log().contains("failed to send RaftMsg"));
    assert_eq!(get(&mut kv, "after").await.unwrap().as_deref(), Some("x"));
}
