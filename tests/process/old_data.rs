//! Data-dirs of earlier builds open with everything that was in them.
//!
//! `old_data/` holds those of one member that was built at the named commit: 60 puts to 20 keys, a
//! lease of 9,000,000 s with a key, a delete, a compaction at revision 30, a learner that never
//! started, and a restart; the one of format 3 has a key of 40,000 bytes, too. They are made with
//! `cp --sparse=always` and `tar --sparse`, or else the log's blank rest would be in them.

use crate::cluster::{Cluster, put};
use bytes::Bytes;
use detcd_wire::etcdserverpb as pb;
use pb::cluster_client::ClusterClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// What an archive holds.
struct Archive {
    file: &'static str,
    has_long_key: bool,
    lease: i64,
    learner: u64,
    revision: i64,
    hash: u32,
}

const FORMAT_2: Archive = Archive {
    file: "c41eaaa-format-2.tar.gz",
    has_long_key: false,
    lease: 0x552f_4b76_8dc5_d990,
    learner: 0xf9e3_6c79_22f1_c553,
    revision: 65,
    hash: 2_606_910_831,
};

const FORMAT_3: Archive = Archive {
    file: "c41eaaa-format-3.tar.gz",
    has_long_key: true,
    lease: 0x50bb_78db_0cb4_a573,
    learner: 0x83bd_a0f1_4da1_b992,
    revision: 66,
    hash: 3_927_360_522,
};

/// The id of the member whose data it is.
const MEMBER: u64 = 0x4cce_e9e3_f4d2_cd4e;
const LONG_KEY_BYTES: usize = 40_000;

#[tokio::test]
async fn data_of_format_2_opens_with_all_that_was_in_it() {
    assert_opens(&FORMAT_2).await;
}

#[tokio::test]
async fn data_of_format_3_opens_with_all_that_was_in_it() {
    assert_opens(&FORMAT_3).await;
}

async fn assert_opens(archive: &Archive) {
    let mut cluster = Cluster::new(1, &[]);
    let node = &mut cluster.nodes[0];
    node.name = "m1".to_owned();
    extract(archive.file, &node.data_dir);
    let flags = node.own_flags();
    node.spawn(&flags);
    node.wait_healthy().await;

    let mut maintenance = MaintenanceClient::new(node.channel());
    let hash = maintenance.hash_kv(pb::HashKvRequest::default()).await;
    let hash = hash.expect("a hash").into_inner();
    assert_eq!((hash.hash, hash.compact_revision), (archive.hash, 30));

    let everything = pb::RangeRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        ..Default::default()
    };
    let range = node.kv().range(everything).await.expect("all keys");
    let range = range.into_inner();
    assert_eq!(range.header.expect("a header").revision, archive.revision);
    let kvs = range.kvs.iter();
    let found: BTreeMap<&[u8], &[u8]> = kvs.map(|kv| (&kv.key[..], &kv.value[..])).collect();
    assert_eq!(
        found,
        expected(archive)
            .iter()
            .map(|(k, v)| (&k[..], &v[..]))
            .collect()
    );

    let mut leases = LeaseClient::new(node.channel());
    let request = pb::LeaseTimeToLiveRequest {
        id: archive.lease,
        keys: true,
    };
    let lease = leases.lease_time_to_live(request).await.expect("a lease");
    let lease = lease.into_inner();
    assert_eq!(
        (lease.granted_ttl, lease.keys),
        (9_000_000, vec![Bytes::from_static(b"leased")])
    );

    let mut members = ClusterClient::new(node.channel());
    let request = pb::MemberListRequest { linearizable: true };
    let members = members.member_list(request).await.expect("members");
    let members = members.into_inner().members;
    let mut ids: Vec<(u64, bool)> = members.iter().map(|it| (it.id, it.is_learner)).collect();
    ids.sort_unstable();
    let mut expected = vec![(MEMBER, false), (archive.learner, true)];
    expected.sort_unstable();
    assert_eq!(ids, expected);

    put(&mut node.kv(), "new", "x")
        .await
        .expect("it is written on");
}

/// Every key and its value.
fn expected(archive: &Archive) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut all = BTreeMap::new();
    for (number, value) in (0..20).zip(40..) {
        all.insert(format!("k{number:02}").into(), format!("v{value}").into());
    }
    all.remove(&b"k03"[..]);
    all.insert(b"k05".to_vec(), b"after".to_vec());
    all.insert(b"leased".to_vec(), b"yes".to_vec());
    all.insert(b"again".to_vec(), b"1".to_vec());
    if archive.has_long_key {
        all.insert(vec![b'x'; LONG_KEY_BYTES], b"long".to_vec());
    }
    all
}

/// Puts what the archive holds where the member expects its data.
fn extract(file: &str, data_dir: &Path) {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/process/old_data")
        .join(file);
    std::fs::create_dir_all(data_dir).expect("a folder");
    let tar = Command::new("tar")
        .args(["--strip-components=1", "-xzf"])
        .arg(archive)
        .arg("-C")
        .arg(data_dir)
        .status();
    assert!(tar.expect("tar starts").success());
}
