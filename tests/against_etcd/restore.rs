//! Snapshots both ways: detcdutl tells of a file what etcdutl does, members of detcd start from a
//! snapshot of etcd, and one of detcd becomes another cluster of it.

use crate::cluster::{Cluster, Node, put, put_eventually};
use crate::snapshot::{add_users, all, fill, hash, leases, run, users};
use crate::tools::{self, Tool};
use detcd_wire::etcdserverpb as pb;
use pb::cluster_client::ClusterClient;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const DETCDUTL: &str = env!("CARGO_BIN_EXE_detcdutl");

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

async fn save(node: &Node, file: &Path) {
    let endpoints = format!("--endpoints=127.0.0.1:{}", node.client_port);
    let detcdctl = Path::new(env!("CARGO_BIN_EXE_detcdctl"));
    run(detcdctl, &[&endpoints, "snapshot", "save", text(file)]).await;
}

/// Makes all members of a new cluster from one file, and starts them.
async fn restore(file: &Path, size: usize, more: &[&str]) -> Cluster {
    let mut cluster = Cluster::new(size, &[]);
    let members = cluster.initial_cluster();
    for node in &cluster.nodes {
        let peer_url = node.peer_url();
        let mut arguments = vec![
            "snapshot",
            "restore",
            text(file),
            "--name",
            &node.name,
            "--initial-cluster",
            &members,
            "--initial-advertise-peer-urls",
            &peer_url,
            "--data-dir",
            text(&node.data_dir),
        ];
        arguments.extend(more);
        run(Path::new(DETCDUTL), &arguments).await;
    }
    (0..size).for_each(|i| cluster.start(i));
    cluster.wait_healthy().await;
    cluster
}

/// That every member of the second has what the one of the first has.
async fn compare(saved: &Node, restored: &Cluster, revisions: &[i64]) {
    for node in &restored.nodes {
        for at in revisions {
            let (a, b) = (
                all(&mut node.kv(), *at).await,
                all(&mut saved.kv(), *at).await,
            );
            assert_eq!(a.count, b.count, "at {at}");
            for (a, b) in a.kvs.iter().zip(&b.kvs) {
                assert_eq!(a, b, "at {at}");
            }
            assert_eq!(hash(node, *at).await, hash(saved, *at).await, "at {at}");
        }
        assert_eq!(leases(node).await, leases(saved).await);
    }
}

async fn revision(node: &Node) -> i64 {
    let status = node.status().await.expect("a status");
    status.header.expect("a header").revision
}

#[tokio::test]
async fn three_members_start_from_a_snapshot_of_etcd() {
    let name = "three_members_start_from_a_snapshot_of_etcd";
    let Some(etcd) = tools::find(Tool::Etcd, name) else {
        return;
    };
    let mut theirs = Cluster::of(etcd.clone(), 1, &[]);
    theirs.start(0);
    theirs.wait_healthy().await;
    let node = &theirs.nodes[0];
    let compacted = fill(node).await;
    add_users(node).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("saved");
    save(node, &file).await;
    same_status(&etcd.with_file_name("etcdutl"), &file);

    let mut restored = restore(&file, 3, &[]).await;
    let last = revision(node).await;
    let revisions = [last, last - 1, compacted + 100, compacted];
    compare(node, &restored, &revisions[..3]).await;
    let mut members = ClusterClient::new(restored.nodes[2].channel());
    let listed = members.member_list(pb::MemberListRequest::default()).await;
    assert_eq!(listed.expect("a list").into_inner().members.len(), 3);
    // It goes on, also after all of them were stopped.
    put_eventually(&restored.nodes[1], "next", "1").await;
    for i in 0..3 {
        restored.nodes[i].stop().await;
    }
    (0..3).for_each(|i| restored.restart(i));
    restored.wait_healthy().await;
    assert!(revision(&restored.nodes[0]).await > last);
    // A member that comes later has an empty log, and gets the state.
    let joining = restored.grow();
    let request = pb::MemberAddRequest {
        peer_urls: vec![restored.nodes[joining].peer_url()],
        is_learner: false,
    };
    let mut members = ClusterClient::new(restored.nodes[0].channel());
    members.member_add(request).await.expect("added");
    restored.join(joining);
    restored.nodes[joining].wait_healthy().await;
    let late = &restored.nodes[joining];
    assert_eq!(hash(late, last).await, hash(node, last).await);
    // Last, as it switches authentication on.
    assert_eq!(users(late).await, users(node).await);
}

#[tokio::test]
async fn a_snapshot_of_etcd_3_4_becomes_a_member_and_goes_back() {
    let name = "a_snapshot_of_etcd_3_4_becomes_a_member_and_goes_back";
    let (Some(old), Some(etcd)) = (
        tools::find(Tool::EtcdV2, name),
        tools::find(Tool::Etcd, name),
    ) else {
        return;
    };
    let mut theirs = Cluster::of(old, 1, &[]);
    theirs.start(0);
    theirs.wait_healthy().await;
    let node = &theirs.nodes[0];
    fill(node).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("saved");
    save(node, &file).await;
    let restored = restore(&file, 1, &[]).await;
    let last = revision(node).await;
    compare(node, &restored, &[last]).await;
    // And what detcd saves of it is the same to etcd's tools.
    let again = folder.path().join("again");
    save(&restored.nodes[0], &again).await;
    same_status(&etcd.with_file_name("etcdutl"), &again);
}

#[tokio::test]
async fn a_later_revision_is_told_to_those_who_saw_lost_ones() {
    let ours = Cluster::started(1, &[]).await;
    let node = &ours.nodes[0];
    let mut kv = node.kv();
    put(&mut kv, "a", "1").await.expect("written");
    let last = put(&mut kv, "a", "2").await.expect("written");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("saved");
    save(node, &file).await;
    let plain = restore(&file, 1, &[]).await;
    compare(node, &plain, &[last, last - 1]).await;
    let (own, new) = (node.status().await, plain.nodes[0].status().await);
    let ids = |status: Option<pb::StatusResponse>| {
        let header = status.and_then(|status| status.header).expect("a header");
        (header.cluster_id, header.member_id)
    };
    let ((cluster, member), (new_cluster, new_member)) = (ids(own), ids(new));
    assert!(cluster != new_cluster && member != new_member, "old ids");
    let more = ["--bump-revision", "1000000", "--mark-compacted"];
    let bumped = restore(&file, 1, &more).await;
    assert_eq!(revision(&bumped.nodes[0]).await, last + 1_000_000);
    let request = pb::RangeRequest {
        key: "a".into(),
        revision: last,
        ..Default::default()
    };
    let past = bumped.nodes[0].kv().range(request).await.unwrap_err();
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!(past.message(), compacted);
    let found = all(&mut bumped.nodes[0].kv(), 0).await;
    assert_eq!(found.kvs[0].mod_revision, last);
    let next = put(&mut bumped.nodes[0].kv(), "a", "3").await;
    assert_eq!(next.expect("written"), last + 1_000_001);
}

fn call(program: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.expect("it starts")
}

/// What both programs tell of a file, in every format.
fn same_status(etcdutl: &Path, file: &Path) {
    for format in ["simple", "json", "fields", "table", "protobuf", "bogus"] {
        let arguments = ["snapshot", "status", text(file), "-w", format];
        let (ours, theirs) = (
            call(Path::new(DETCDUTL), &arguments),
            call(etcdutl, &arguments),
        );
        assert_eq!(ours, theirs, "{arguments:?}");
    }
}

#[tokio::test]
async fn files_that_are_no_snapshots_are_refused_as_by_etcdutl() {
    let name = "files_that_are_no_snapshots_are_refused_as_by_etcdutl";
    let Some(etcd) = tools::find(Tool::Etcd, name) else {
        return;
    };
    let etcdutl = etcd.with_file_name("etcdutl");
    let ours = Cluster::started(1, &[]).await;
    let node = &ours.nodes[0];
    put(&mut node.kv(), "a", "1").await.expect("written");
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    save(node, &place("sound")).await;
    let sound = std::fs::read(place("sound")).expect("a file");
    let mut spoiled = sound.clone();
    spoiled[3 * 4096 + 100] ^= 1;
    let write = |name: &str, bytes: &[u8]| std::fs::write(place(name), bytes).expect("written");
    write("spoiled", &spoiled);
    write("short", &sound[..5000]);
    write("bare", &sound[..sound.len() - 32]);
    write("text", b"no database");
    for name in ["sound", "short", "bare", "text", "missing"] {
        same_status(&etcdutl, &place(name));
    }
    let restored = |name: &str, more: &[&str]| {
        let (file, data_dir): (PathBuf, PathBuf) = (place(name), place("data"));
        let mut arguments = vec!["snapshot", "restore", text(&file)];
        arguments.extend(["--data-dir", text(&data_dir)]);
        arguments.extend(more);
        let (ours, theirs) = (
            call(Path::new(DETCDUTL), &arguments),
            call(&etcdutl, &arguments),
        );
        let last = |output: Output| {
            let told = String::from_utf8(output.stderr).expect("text");
            let line = told.lines().last().expect("a line").to_owned();
            (output.status.code(), line)
        };
        let (ours, theirs) = (last(ours), last(theirs));
        assert_eq!(ours, theirs, "{arguments:?}");
        assert_eq!(ours.0, Some(1), "{arguments:?}");
    };
    restored("bare", &[]);
    restored("spoiled", &[]);
    restored("missing", &[]);
    restored("sound", &["--name", "other"]);
    restored(
        "sound",
        &["--initial-cluster", "default=http://localhost:1"],
    );
    std::fs::create_dir_all(place("data/member")).expect("a folder");
    restored("sound", &[]);
}

#[tokio::test]
async fn the_state_of_a_stopped_member_has_the_hash_of_its_snapshot() {
    let mut ours = Cluster::started(1, &[]).await;
    let node = &ours.nodes[0];
    fill(node).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("saved");
    save(node, &file).await;
    let hash = hash(node, 0).await;
    let last = revision(node).await;
    let data_dir = ours.nodes[0].data_dir.clone();
    let (data_dir, detcdutl) = (text(&data_dir), Path::new(DETCDUTL));
    let busy = call(detcdutl, &["hashkv", data_dir]);
    assert_eq!(busy.status.code(), Some(1), "it runs");
    ours.nodes[0].stop().await;
    let expected = format!("{}, {last}, {}\n", hash.hash, hash.compact_revision);
    assert_eq!(run(detcdutl, &["hashkv", text(&file)]).await, expected);
    assert_eq!(run(detcdutl, &["hashkv", data_dir]).await, expected);
    assert_eq!(run(detcdutl, &["defrag", "--data-dir", data_dir]).await, "");
    assert_eq!(run(detcdutl, &["hashkv", data_dir]).await, expected);
    ours.restart(0);
    ours.wait_healthy().await;
    assert_eq!(crate::snapshot::hash(&ours.nodes[0], last).await, hash);
}
