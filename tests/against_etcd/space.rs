//! What members say of the space that they take, and what deleted keys cost once compacted.

use crate::cluster::{Cluster, Node, eventually};
use crate::tools::{self, Tool};
use bytes::Bytes;
use detcd_wire::etcdserverpb as pb;
use pb::kv_client::KvClient;
use std::time::{Duration, Instant};
use tonic::transport::Channel;

const MIB: i64 = 1024 * 1024;

async fn put_all(kv: &KvClient<Channel>, keys: impl Iterator<Item = String>, bytes: usize) {
    use futures::StreamExt as _;
    futures::stream::iter(keys)
        .map(|key| {
            let mut kv = kv.clone();
            // What does not compress.
            let salt = key.bytes().fold(7u32, |hash, byte| {
                hash.wrapping_mul(16_777_619) ^ u32::from(byte)
            });
            let noise = |n: u32| (n.wrapping_add(salt).wrapping_mul(2_654_435_761) >> 13) as u8;
            let request = pb::PutRequest {
                key: key.into(),
                value: (0..bytes as u32).map(noise).collect::<Vec<u8>>().into(),
                ..Default::default()
            };
            async move { kv.put(request).await.expect("a put") }
        })
        .buffer_unordered(32)
        .for_each(async |_| ())
        .await;
}

async fn compact(node: &Node) -> Duration {
    let revision = node.status().await.expect("a status");
    let revision = revision.header.expect("a header").revision;
    let request = pb::CompactionRequest {
        revision,
        physical: true,
    };
    let begun = Instant::now();
    node.kv().compact(request).await.expect("a compaction");
    begun.elapsed()
}

/// 30 MB of versions of one key: after a physical compaction they are not in use.
#[tokio::test]
async fn compacted_versions_are_not_in_use() {
    let Some(etcd) = tools::find(Tool::Etcd, "compacted_versions_are_not_in_use") else {
        return;
    };
    let detcd = env!("CARGO_BIN_EXE_detcd").into();
    for program in [etcd, detcd] {
        let mut cluster = Cluster::of(program, 1, &[]);
        cluster.start(0);
        cluster.wait_healthy().await;
        let node = &cluster.nodes[0];
        let versions = || (0..30).map(|_| "key".to_owned());
        put_all(&node.kv(), versions(), 1024 * 1024).await;
        // etcd counts what it has committed, which is a little later.
        eventually("the versions to be in use", || async {
            (node.status().await?.db_size_in_use > 25 * MIB).then_some(())
        })
        .await;
        compact(node).await;
        // etcd frees pages with its next commits, and commits when there are writes.
        eventually("the space to be free", || async {
            put_all(&node.kv(), ["other".to_owned()].into_iter(), 1).await;
            let status = node.status().await?;
            (status.db_size_in_use < 4 * MIB).then_some(())
        })
        .await;
        let free = node.status().await.expect("a status");
        // etcd's file keeps its length until it is defragmented.
        assert!(free.db_size_in_use <= free.db_size, "{free:?}");
    }
}

/// The time of the fastest of a few reads.
async fn fastest(kv: &mut KvClient<Channel>, request: &pb::RangeRequest) -> Duration {
    let mut fastest = Duration::MAX;
    for _ in 0..20 {
        let begun = Instant::now();
        kv.range(request.clone()).await.expect("a range");
        fastest = fastest.min(begun.elapsed());
    }
    fastest
}

/// Reads do not walk over keys that were deleted and compacted.
#[tokio::test]
async fn deleted_keys_cost_nothing_once_compacted() {
    let cluster = Cluster::started(1, &[]).await;
    let node = &cluster.nodes[0];
    let mut kv = node.kv();
    let keys = |range: std::ops::Range<u32>| range.map(|n| format!("/registry/{n:06}"));
    put_all(&kv, keys(0..6_000), 100).await;
    put_all(&kv, keys(900_000..900_010), 100).await;
    let head = pb::RangeRequest {
        key: Bytes::from_static(b"/registry/"),
        range_end: Bytes::from_static(b"/registry0"),
        limit: 1,
        ..Default::default()
    };
    let clean = pb::RangeRequest {
        key: Bytes::from_static(b"/registry/9"),
        ..head.clone()
    };
    let delete = pb::DeleteRangeRequest {
        key: Bytes::from_static(b"/registry/0"),
        range_end: Bytes::from_static(b"/registry/1"),
        ..Default::default()
    };
    let deleted = kv.delete_range(delete).await.expect("a delete");
    assert_eq!(deleted.into_inner().deleted, 6_000);
    compact(node).await;
    // A read that walks over them takes thirty times as long.
    eventually("reads that skip deleted keys", || {
        let (mut kv, head, clean) = (kv.clone(), head.clone(), clean.clone());
        async move {
            let (head, clean) = (
                fastest(&mut kv, &head).await,
                fastest(&mut kv, &clean).await,
            );
            eprintln!("the head {head:?}, a range without deleted keys {clean:?}");
            (head < 4 * clean).then_some(())
        }
    })
    .await;
}
