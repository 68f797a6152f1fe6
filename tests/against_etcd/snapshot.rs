//! A snapshot of detcd's is one of etcd's: etcdctl saves it, etcdutl restores it, and an etcd that
//! starts from it has all that detcd had.

use crate::cluster::{Cluster, Node, put};
use crate::tools::{self, Tool};
use detcd_wire::authpb::{Permission, UserAddOptions};
use detcd_wire::etcdserverpb as pb;
use pb::auth_client::AuthClient;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use pb::request_op::Request as Op;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;
use tonic::transport::Channel;

/// So many that the file's tree has some levels.
const KEYS: usize = 3000;
const RUN_MAX: Duration = Duration::from_secs(60);

pub async fn run(program: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command
        .env("ETCDCTL_API", "3")
        .args(arguments)
        .kill_on_drop(true);
    let output = tokio::time::timeout(RUN_MAX, command.output()).await;
    let output = output.expect("an end in time").expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    out
}

fn key(n: usize) -> String {
    format!("k{}/{n}", n % 7)
}

fn put_op(key: String, value: String, lease: i64) -> pb::RequestOp {
    let put = pb::PutRequest {
        key: key.into(),
        value: value.into(),
        lease,
        ..Default::default()
    };
    pb::RequestOp {
        request: Some(Op::RequestPut(put)),
    }
}

fn delete(key: String, end: String) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: key.into(),
        range_end: end.into(),
        prev_kv: false,
    }
}

/// Keys of many versions, deleted ones, large ones, leases with and without keys, and a compaction.
/// (Leases with negative ids an etcd 3.5.1 that restarts forgets, its own as well.) Gives the revision of the compaction.
pub async fn fill(node: &Node) -> i64 {
    let mut kv = node.kv();
    let mut leases = LeaseClient::new(node.channel());
    for id in [600, 0x1234, 7] {
        let request = pb::LeaseGrantRequest { ttl: 600, id };
        leases.lease_grant(request).await.expect("a lease");
    }
    for round in 0..2 {
        for from in (0..KEYS).step_by(100) {
            let ops = (from..from + 100).map(|n| {
                let lease = if n % 50 == 0 { 0x1234 } else { 0 };
                put_op(key(n), format!("{round}-{}", "v".repeat(n % 300)), lease)
            });
            let txn = pb::TxnRequest {
                success: ops.collect(),
                ..Default::default()
            };
            kv.txn(txn).await.expect("written");
        }
    }
    put(&mut kv, "large", &"x".repeat(1_400_000))
        .await
        .expect("written");
    let gone = delete("k3/".to_owned(), "k30".to_owned());
    kv.delete_range(gone).await.expect("deleted");
    let at = put(&mut kv, "late", "1").await.expect("written");
    let compact = pb::CompactionRequest {
        revision: at - 1,
        physical: true,
    };
    kv.compact(compact).await.expect("compacted");
    for n in 0..300 {
        put(&mut kv, &key(n), "newest").await.expect("written");
        kv.delete_range(delete(key(n + 300), String::new()))
            .await
            .expect("deleted");
    }
    at - 1
}

/// Everything at a revision.
pub async fn all(kv: &mut KvClient<Channel>, revision: i64) -> pb::RangeResponse {
    let request = pb::RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        revision,
        ..Default::default()
    };
    let kv = kv.clone().max_decoding_message_size(64 << 20);
    let found = { kv }.range(request).await.expect("a read").into_inner();
    pb::RangeResponse {
        header: None,
        ..found
    }
}

pub async fn hash(node: &Node, revision: i64) -> pb::HashKvResponse {
    let mut maintenance = MaintenanceClient::new(node.channel());
    let asked = maintenance.hash_kv(pb::HashKvRequest { revision }).await;
    let found = asked.expect("a hash").into_inner();
    pb::HashKvResponse {
        header: None,
        // etcd 3.5 does not say which revision it hashed.
        hash_revision: 0,
        ..found
    }
}

pub async fn leases(node: &Node) -> Vec<pb::LeaseTimeToLiveResponse> {
    let mut leases = LeaseClient::new(node.channel());
    let mut found = Vec::new();
    for id in [600, 0x1234, 7, 8] {
        let request = pb::LeaseTimeToLiveRequest { id, keys: true };
        let left = leases.lease_time_to_live(request).await;
        let mut left = left.expect("an answer").into_inner();
        left.keys.sort();
        found.push(pb::LeaseTimeToLiveResponse {
            header: None,
            ttl: 0,
            ..left
        });
    }
    found
}

/// The directory of a member of etcd's that starts from the snapshot.
async fn restore(etcdutl: &Path, file: &Path, node: &Node) -> PathBuf {
    let data_dir = file.with_file_name("restored");
    let cluster = format!("{}={}", node.name, node.peer_url());
    let arguments = [
        "snapshot",
        "restore",
        file.to_str().expect("text"),
        "--name",
        &node.name,
        "--initial-cluster",
        &cluster,
        "--initial-advertise-peer-urls",
        &node.peer_url(),
        "--data-dir",
        data_dir.to_str().expect("text"),
    ];
    run(etcdutl, &arguments).await;
    data_dir
}

#[tokio::test]
async fn etcd_takes_up_a_snapshot_that_was_saved_under_load() {
    let Some(etcd) = tools::find(
        Tool::Etcd,
        "etcd_takes_up_a_snapshot_that_was_saved_under_load",
    ) else {
        return;
    };
    let (etcdctl, etcdutl) = (
        etcd.with_file_name("etcdctl"),
        etcd.with_file_name("etcdutl"),
    );
    let ours = Cluster::started(1, &[]).await;
    let node = &ours.nodes[0];
    let compacted = fill(node).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("saved");
    let path = file.to_str().expect("text");
    // Writes go on while it is saved.
    let mut kv = node.kv();
    let writer = tokio::spawn(async move {
        for n in 0.. {
            let written = put(&mut kv, "busy", &n.to_string()).await;
            written.expect("written");
        }
    });
    let endpoints = format!("--endpoints=127.0.0.1:{}", node.client_port);
    let saved = run(&etcdctl, &[&endpoints, "snapshot", "save", path]).await;
    writer.abort();
    assert_eq!(saved, format!("Snapshot saved at {path}\n"));
    let status = run(&etcdutl, &["snapshot", "status", path, "-w", "json"]).await;
    assert!(status.contains("\"revision\":"), "{status}");

    let mut theirs = Cluster::of(etcd, 1, &[]);
    theirs.nodes[0].data_dir = restore(&etcdutl, &file, &theirs.nodes[0]).await;
    theirs.start(0);
    theirs.wait_healthy().await;
    let restored = &theirs.nodes[0];
    let latest = all(&mut restored.kv(), 0).await;
    let revision = latest.kvs.iter().map(|kv| kv.mod_revision).max();
    let revision = revision.expect("keys");
    assert_eq!(hash(restored, 0).await, hash(node, revision).await);
    // Read one after the other, so that a difference is shown by the key.
    for at in [revision, revision - 1, compacted + 100, compacted] {
        let (a, b) = (
            all(&mut restored.kv(), at).await,
            all(&mut node.kv(), at).await,
        );
        assert_eq!(a.count, b.count, "at {at}");
        for (a, b) in a.kvs.iter().zip(&b.kvs) {
            assert_eq!(a, b, "at {at}");
        }
    }
    assert_eq!(leases(restored).await, leases(node).await);
    // And it goes on from there.
    let next = put(&mut restored.kv(), "next", "1").await.expect("written");
    assert!(next > revision);
}

pub async fn add_users(node: &Node) {
    let mut auth = AuthClient::new(node.channel());
    for name in ["reader", "root"] {
        let request = pb::AuthRoleAddRequest { name: name.into() };
        auth.role_add(request).await.expect("a role");
    }
    for (perm_type, key, range_end) in [(0, "k1/", "k10"), (2, "own", ""), (1, "z", "\0")] {
        let perm = Permission {
            perm_type,
            key: key.into(),
            range_end: range_end.into(),
        };
        let request = pb::AuthRoleGrantPermissionRequest {
            name: "reader".into(),
            perm: Some(perm),
        };
        auth.role_grant_permission(request).await.expect("granted");
    }
    for (name, no_password) in [("root", false), ("user", false), ("machine", true)] {
        let request = pb::AuthUserAddRequest {
            name: name.into(),
            password: if no_password { "" } else { "secret" }.into(),
            options: Some(UserAddOptions { no_password }),
            ..Default::default()
        };
        auth.user_add(request).await.expect("a user");
    }
    for (user, role) in [("root", "root"), ("user", "reader")] {
        let request = pb::AuthUserGrantRoleRequest {
            user: user.into(),
            role: role.into(),
        };
        auth.user_grant_role(request).await.expect("granted");
    }
}

/// What the users and roles are, and whether a password is known.
pub async fn users(node: &Node) -> Vec<String> {
    let mut auth = AuthClient::new(node.channel());
    let mut seen = Vec::new();
    for name in ["root", "user", "machine"] {
        let request = pb::AuthUserGetRequest { name: name.into() };
        let user = auth.user_get(request).await.expect("a user").into_inner();
        seen.push(format!("{name}: {:?}", user.roles));
    }
    let request = pb::AuthRoleGetRequest {
        role: "reader".into(),
    };
    let role = auth.role_get(request).await.expect("a role").into_inner();
    seen.push(format!("{:?}", role.perm));
    let enable = pb::AuthEnableRequest {};
    auth.auth_enable(enable).await.expect("enabled");
    for (name, password) in [("user", "secret"), ("user", "other"), ("machine", "")] {
        let request = pb::AuthenticateRequest {
            name: name.into(),
            password: password.into(),
        };
        let known = auth.authenticate(request).await.map(|_| ());
        seen.push(format!(
            "{name} {password}: {:?}",
            known.map_err(|it| it.code())
        ));
    }
    seen
}

#[tokio::test]
async fn users_and_roles_of_a_snapshot_are_those_of_the_restored_etcd() {
    let name = "users_and_roles_of_a_snapshot_are_those_of_the_restored_etcd";
    let Some(etcd) = tools::find(Tool::Etcd, name) else {
        return;
    };
    let (etcdctl, etcdutl) = (
        etcd.with_file_name("etcdctl"),
        etcd.with_file_name("etcdutl"),
    );
    let ours = Cluster::started(1, &[]).await;
    add_users(&ours.nodes[0]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("saved");
    let path = file.to_str().expect("text");
    let endpoints = format!("--endpoints=127.0.0.1:{}", ours.nodes[0].client_port);
    run(&etcdctl, &[&endpoints, "snapshot", "save", path]).await;
    let mut theirs = Cluster::of(etcd, 1, &[]);
    theirs.nodes[0].data_dir = restore(&etcdutl, &file, &theirs.nodes[0]).await;
    theirs.start(0);
    theirs.wait_healthy().await;
    assert_eq!(users(&theirs.nodes[0]).await, users(&ours.nodes[0]).await);
}

/// The checksum of etcdctl 3.4 and the messages, and what a defragmentation leaves as it is.
#[tokio::test]
async fn a_snapshot_comes_in_messages_as_etcds() {
    let ours = Cluster::started(1, &[]).await;
    let node = &ours.nodes[0];
    fill(node).await;
    let mut maintenance = MaintenanceClient::new(node.channel());
    let before = maintenance.hash(pb::HashRequest {}).await.expect("a hash");
    let done = maintenance.defragment(pb::DefragmentRequest {}).await;
    assert_eq!(done.expect("done").into_inner().header, None);
    let after = maintenance.hash(pb::HashRequest {}).await.expect("a hash");
    assert_eq!(before.into_inner().hash, after.into_inner().hash);
    let stream = maintenance.snapshot(pb::SnapshotRequest {}).await;
    let mut stream = stream.expect("a stream").into_inner();
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while let Some(message) = stream.message().await.expect("a message") {
        bytes += message.blob.len() as u64;
        messages.push((message.remaining_bytes, message.blob.len(), message.version));
    }
    let checksum = messages.pop().expect("a checksum");
    assert_eq!((checksum.0, checksum.1), (0, 32));
    bytes -= 32;
    assert_eq!(bytes % 4096, 0);
    let mut left = bytes;
    for (remaining, length, version) in &messages {
        left -= *length as u64;
        assert_eq!((*remaining, &version[..]), (left, "3.7.0"));
    }
    assert_eq!(left, 0);
    assert!(
        messages[..messages.len() - 1]
            .iter()
            .all(|it| it.1 == 32 * 1024)
    );
    if let Some(etcdctl) = tools::find(Tool::Etcdctl, "a_snapshot_comes_in_messages_as_etcds") {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("saved");
        let path = path.to_str().expect("text");
        let endpoints = format!("--endpoints=127.0.0.1:{}", node.client_port);
        run(&etcdctl, &[&endpoints, "snapshot", "save", path]).await;
        let status = run(&etcdctl, &["snapshot", "status", path]).await;
        assert!(status.contains(", "), "{status}");
        let own = folder.path().join("own");
        let own = own.to_str().expect("text");
        let detcdctl = Path::new(env!("CARGO_BIN_EXE_detcdctl"));
        let saved = run(detcdctl, &[&endpoints, "snapshot", "save", own]).await;
        assert_eq!(saved, format!("Snapshot saved at {own}\n"));
        let (own, theirs) = (std::fs::read(own), std::fs::read(path));
        assert!(
            own.expect("a file") == theirs.expect("a file"),
            "other bytes"
        );
        for program in [&etcdctl, detcdctl] {
            let done = run(program, &[&endpoints, "defrag"]).await;
            let port = node.client_port;
            let expected = format!("Finished defragmenting etcd member[127.0.0.1:{port}]\n");
            assert_eq!(done, expected);
        }
    }
}
