//! Long keys.

use crate::cluster::{Cluster, Node, eventually};
use crate::tools::{self, Tool};
use bytes::Bytes;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::mvccpb;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use pb::watch_client::WatchClient;
use tonic::transport::Channel;

/// Lengths around what detcd's store holds in one piece, in two, and what a request may have.
const LENGTHS: [usize; 8] = [
    32_753, 65_530, 65_531, 65_600, 131_100, 700_000, 1_400_000, 1_572_700,
];
const REQUEST_BYTES_MAX: usize = 1_572_864;
const LEASE: i64 = 77;

/// A key that is as long as that; each begins as the longer ones do.
fn long(length: usize) -> Bytes {
    Bytes::from(vec![b'k'; length])
}

fn kv(node: &Node) -> KvClient<Channel> {
    node.kv().max_decoding_message_size(usize::MAX)
}

fn put(key: Bytes, value: &str) -> pb::PutRequest {
    pb::PutRequest {
        key,
        value: value.to_owned().into(),
        ..Default::default()
    }
}

fn prefix(key: &str) -> pb::RangeRequest {
    let mut end = key.to_owned().into_bytes();
    *end.last_mut().expect("a prefix") += 1;
    pb::RangeRequest {
        key: key.to_owned().into(),
        range_end: end.into(),
        ..Default::default()
    }
}

/// What is seen of keys and values: their lengths, and everything else.
fn show(kvs: &[mvccpb::KeyValue]) -> String {
    let one = |kv: &mvccpb::KeyValue| {
        let value = String::from_utf8_lossy(&kv.value[..kv.value.len().min(9)]).into_owned();
        let (created, modified, version) = (kv.create_revision, kv.mod_revision, kv.version);
        let (key, lease) = (kv.key.len(), kv.lease);
        format!("{key}={value} {created} {modified} {version} {lease}")
    };
    kvs.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn refusal<T>(result: Result<tonic::Response<T>, tonic::Status>) -> String {
    match result {
        Ok(_) => "taken".to_owned(),
        Err(status) => format!("{:?} {}", status.code(), status.message()),
    }
}

/// Everything that a client can do with long keys, and what it is told.
async fn outcomes(node: &Node) -> Vec<String> {
    let mut kv = kv(node);
    let mut told = Vec::new();
    let mut leases = LeaseClient::new(node.channel());
    let grant = pb::LeaseGrantRequest {
        ttl: 600,
        id: LEASE,
    };
    leases.lease_grant(grant).await.expect("a lease");
    for length in LENGTHS {
        let lease = if length == 700_000 { LEASE } else { 0 };
        let request = pb::PutRequest {
            lease,
            ..put(long(length), "first")
        };
        told.push(refusal(kv.put(request).await));
        let again = pb::PutRequest {
            prev_kv: length < 200_000,
            ..put(long(length), "second")
        };
        if length < 700_000 {
            let prev = kv.put(again).await.expect("a put").into_inner().prev_kv;
            told.push(show(&prev.into_iter().collect::<Vec<_>>()));
        }
    }
    told.extend(reads(&mut kv).await);
    told.extend(conditions(&mut kv).await);
    let history = events(node).await;
    told.push(history);
    let keys = pb::LeaseTimeToLiveRequest {
        id: LEASE,
        keys: true,
    };
    let mut leases = leases.max_decoding_message_size(usize::MAX);
    let keys = leases.lease_time_to_live(keys).await.expect("a lease");
    let lengths = keys.into_inner().keys;
    told.push(format!(
        "{:?}",
        lengths.iter().map(Bytes::len).collect::<Vec<_>>()
    ));
    told.extend(ends(&mut kv, &mut leases).await);
    told.extend(too_large(&mut kv).await);
    told
}

async fn reads(kv: &mut KvClient<Channel>) -> Vec<String> {
    let mut told = Vec::new();
    use pb::range_request::SortOrder::{Ascend, Descend};
    for (order, limit) in [(Ascend, 0), (Descend, 0), (Ascend, 3), (Descend, 3)] {
        let request = pb::RangeRequest {
            sort_order: order.into(),
            limit,
            keys_only: true,
            ..prefix("k")
        };
        let found = kv.range(request).await.expect("a range").into_inner();
        told.push(format!(
            "{} {} {}",
            found.count,
            found.more,
            show(&found.kvs)
        ));
    }
    for (start, end) in [(65_531, 700_000), (65_600, 65_601), (131_100, 131_100)] {
        let request = pb::RangeRequest {
            key: long(start),
            range_end: long(end),
            keys_only: true,
            ..Default::default()
        };
        let found = kv.range(request).await.expect("a range").into_inner();
        told.push(show(&found.kvs));
    }
    for length in [65_531, 65_532, 1_400_000, 1_600_000] {
        let past = pb::RangeRequest {
            key: long(length),
            revision: 3,
            ..Default::default()
        };
        let found = kv.range(past).await.expect("a range").into_inner();
        told.push(show(&found.kvs));
        let now = pb::RangeRequest {
            key: long(length),
            ..Default::default()
        };
        let found = kv.range(now).await.expect("a range").into_inner();
        told.push(show(&found.kvs));
    }
    told
}

/// Transactions that compare long keys, read them and write others.
async fn conditions(kv: &mut KvClient<Channel>) -> Vec<String> {
    use pb::compare::{CompareResult, CompareTarget, TargetUnion};
    use pb::request_op::Request;
    let mut told = Vec::new();
    for version in [2, 3] {
        let compare = pb::Compare {
            key: long(131_100),
            result: CompareResult::Equal.into(),
            target: CompareTarget::Version.into(),
            target_union: Some(TargetUnion::Version(version)),
            ..Default::default()
        };
        let op = |request| pb::RequestOp {
            request: Some(request),
        };
        let written = Bytes::from(vec![b'z'; 200_000 + version as usize]);
        let request = pb::TxnRequest {
            compare: vec![compare],
            success: vec![op(Request::RequestPut(put(written, "then")))],
            failure: vec![op(Request::RequestRange(pb::RangeRequest {
                key: long(131_100),
                ..Default::default()
            }))],
        };
        let done = kv.txn(request).await.expect("a transaction").into_inner();
        told.push(format!("{} {}", done.succeeded, done.responses.len()));
    }
    told
}

/// All changes from the first revision on.
async fn events(node: &Node) -> String {
    let mut watch = WatchClient::new(node.channel()).max_decoding_message_size(usize::MAX);
    let create = pb::WatchCreateRequest {
        key: Bytes::from_static(b"k"),
        range_end: Bytes::from_static(b"l"),
        start_revision: 1,
        prev_kv: true,
        ..Default::default()
    };
    let create = pb::WatchRequest {
        request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)),
    };
    let requests = tokio_stream::StreamExt::chain(
        tokio_stream::iter([create]),
        tokio_stream::pending::<pb::WatchRequest>(),
    );
    let stream = watch.watch(requests).await.expect("a watch");
    let mut stream = stream.into_inner();
    let (mut seen, mut count) = (String::new(), 0);
    while count < LENGTHS.len() + 5 {
        let next = stream.message().await.expect("a stream").expect("events");
        for event in next.events {
            count += 1;
            let kvs: Vec<_> = event.kv.into_iter().chain(event.prev_kv).collect();
            seen += &format!("{} [{}]; ", event.r#type, show(&kvs));
        }
    }
    seen
}

/// Deletes, a compaction, and the end of a lease.
async fn ends(kv: &mut KvClient<Channel>, leases: &mut LeaseClient<Channel>) -> Vec<String> {
    let mut told = Vec::new();
    let one = pb::DeleteRangeRequest {
        key: long(65_531),
        prev_kv: true,
        ..Default::default()
    };
    let some = pb::DeleteRangeRequest {
        key: long(65_600),
        range_end: long(700_000),
        ..Default::default()
    };
    for request in [one, some] {
        let deleted = kv
            .delete_range(request)
            .await
            .expect("a delete")
            .into_inner();
        told.push(format!("{} {}", deleted.deleted, show(&deleted.prev_kvs)));
    }
    let revoke = pb::LeaseRevokeRequest { id: LEASE };
    leases.lease_revoke(revoke).await.expect("a revoke");
    let all = || pb::RangeRequest {
        keys_only: true,
        ..prefix("k")
    };
    let left = kv.range(all()).await.expect("a range").into_inner();
    let revision = left.header.expect("a header").revision;
    told.push(format!("{revision} {}", show(&left.kvs)));
    let compact = pb::CompactionRequest {
        revision,
        physical: true,
    };
    kv.compact(compact).await.expect("a compaction");
    let left = kv.range(all()).await.expect("a range").into_inner();
    told.push(show(&left.kvs));
    told
}

/// Only the request is too large, whatever in it is.
async fn too_large(kv: &mut KvClient<Channel>) -> Vec<String> {
    let mut told = Vec::new();
    let over = put(long(REQUEST_BYTES_MAX), "");
    told.push(refusal(kv.put(over.clone()).await));
    let op = pb::RequestOp {
        request: Some(pb::request_op::Request::RequestPut(over)),
    };
    let txn = pb::TxnRequest {
        success: vec![op],
        ..Default::default()
    };
    told.push(refusal(kv.txn(txn).await));
    let delete = pb::DeleteRangeRequest {
        key: long(REQUEST_BYTES_MAX),
        ..Default::default()
    };
    told.push(refusal(kv.delete_range(delete).await));
    told
}

#[tokio::test]
async fn long_keys_are_answered_as_etcd_does() {
    let test = "long_keys_are_answered_as_etcd_does";
    let Some(etcd) = tools::find(Tool::Etcd, test) else {
        return;
    };
    let mut reference = Cluster::of(etcd, 1, &[]);
    reference.start(0);
    reference.wait_healthy().await;
    let expected = outcomes(&reference.nodes[0]).await;
    let cluster = Cluster::started(1, &[]).await;
    let found = outcomes(&cluster.nodes[0]).await;
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

async fn hash(node: &Node) -> Option<(u32, i64)> {
    let mut client = MaintenanceClient::new(node.channel());
    let hash = client.hash_kv(pb::HashKvRequest { revision: 0 }).await;
    let hash = hash.ok()?.into_inner();
    Some((hash.hash, hash.header?.revision))
}

/// Long keys reach members over the log and in snapshots, and are there after a restart.
#[tokio::test]
async fn long_keys_reach_every_member() {
    let flags = ["--snapshot-count=10", "--snapshot-catchup-entries=5"];
    let mut cluster = Cluster::started(3, &flags).await;
    let length = 1_400_000;
    let write = async |node: &Node, rounds: std::ops::Range<usize>| {
        let mut kv = kv(node);
        for round in rounds {
            let long = put(long(length), &format!("{round}"));
            let other = Bytes::from([&vec![0; 500_000][..], &[round as u8]].concat());
            for request in [long, put(other, "zeros"), put(Bytes::from("a"), "b")] {
                kv.put(request).await.expect("a put");
            }
        }
    };
    write(&cluster.nodes[0], 0..3).await;
    cluster.nodes[2].kill();
    write(&cluster.nodes[0], 3..12).await;
    let compact = pb::CompactionRequest {
        revision: 20,
        physical: true,
    };
    let mut first = kv(&cluster.nodes[0]);
    first.compact(compact).await.expect("a compaction");
    cluster.nodes[1].kill();
    for i in [2, 1] {
        cluster.restart(i);
    }
    for i in [2, 1] {
        cluster.nodes[i].wait_healthy().await;
    }
    let log = cluster.nodes[2].log();
    assert!(
        log.contains("receiving a snapshot"),
        "more was missed than the log holds"
    );
    let expected = eventually("a hash", || hash(&cluster.nodes[0])).await;
    for node in &cluster.nodes[1..] {
        eventually("the same state", || async {
            (hash(node).await? == expected).then_some(())
        })
        .await;
        let mut kv = kv(node);
        let request = pb::RangeRequest {
            key: long(length),
            serializable: true,
            ..Default::default()
        };
        let found = kv.range(request).await.expect("a read").into_inner();
        assert_eq!(show(&found.kvs), format!("{length}=11 2 35 12 0"));
    }
}
