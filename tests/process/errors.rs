//! Bad input on every RPC gets etcd's code and text. The same table is run against etcd itself
//! where there is one: that is where its texts come from.

use crate::cluster::{Cluster, Node, put};
use crate::tools::{self, Tool};
use bytes::Bytes;
use detcd_wire::etcdserverpb as pb;
use pb::request_op::Request as Asked;
use prost::Message;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

/// A compaction at this revision happens before the table runs.
const COMPACTED: i64 = 3;
const LEASE: i64 = 4711;

/// One call of the table: what it is, what it asks, what it must be answered.
struct Case {
    what: &'static str,
    call: Call,
    code: Code,
    text: String,
}

/// A message on its way to a method, encoded.
pub struct Call {
    path: &'static str,
    pub body: Raw,
}

/// Bytes that pass as any message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Raw(Vec<u8>);

impl Message for Raw {
    fn encode_raw(&self, out: &mut impl bytes::BufMut) {
        out.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: prost::encoding::WireType,
        input: &mut impl bytes::Buf,
        context: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        prost::encoding::skip_field(wire_type, tag, input, context)
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

pub fn call(path: &'static str, message: impl Message) -> Call {
    Call {
        path,
        body: Raw(message.encode_to_vec()),
    }
}

fn put_of(request: pb::PutRequest) -> Call {
    call("/etcdserverpb.KV/Put", request)
}

fn range_of(request: pb::RangeRequest) -> Call {
    call("/etcdserverpb.KV/Range", request)
}

fn txn_of(compare: Vec<pb::Compare>, success: Vec<Asked>) -> Call {
    call("/etcdserverpb.KV/Txn", txn(compare, success))
}

fn txn(compare: Vec<pb::Compare>, success: Vec<Asked>) -> pb::TxnRequest {
    let success = success
        .into_iter()
        .map(|asked| pb::RequestOp {
            request: Some(asked),
        })
        .collect();
    pb::TxnRequest {
        compare,
        success,
        failure: Vec::new(),
    }
}

fn a_put(key: &'static str) -> pb::PutRequest {
    pb::PutRequest {
        key: key.into(),
        value: "v".into(),
        ..Default::default()
    }
}

fn a_range(key: &'static str) -> pb::RangeRequest {
    pb::RangeRequest {
        key: key.into(),
        ..Default::default()
    }
}

fn big(bytes: usize) -> Call {
    put_of(pb::PutRequest {
        value: Bytes::from(vec![7; bytes]),
        ..a_put("big")
    })
}

#[rustfmt::skip]
fn table() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |what, call, code, text: &str| {
        cases.push(Case { what, call, code, text: text.to_owned() });
    };
    use Code::*;

    case("put without key", put_of(a_put("")), InvalidArgument, "etcdserver: key is not provided");
    case("put with a value to ignore", put_of(pb::PutRequest { ignore_value: true, ..a_put("a") }), InvalidArgument, "etcdserver: value is provided");
    case("put with a lease to ignore", put_of(pb::PutRequest { ignore_lease: true, lease: 1, ..a_put("a") }), InvalidArgument, "etcdserver: lease is provided");
    case("put that keeps the value of no key", put_of(pb::PutRequest { ignore_value: true, key: "none".into(), ..Default::default() }), InvalidArgument, "etcdserver: key not found");
    case("put that keeps the lease of no key", put_of(pb::PutRequest { ignore_lease: true, ..a_put("none") }), InvalidArgument, "etcdserver: key not found");
    case("put on an unknown lease", put_of(pb::PutRequest { lease: 12345, ..a_put("a") }), NotFound, "etcdserver: requested lease not found");
    case("put of more than a request may have", big(1_600_000), InvalidArgument, "etcdserver: request is too large");
    let huge = big(3_000_000);
    let size = huge.body.0.len();
    case("put of more than a message may have", huge, ResourceExhausted, &format!("grpc: received message larger than max ({size} vs. 2097152)"));

    case("range without key", range_of(a_range("")), InvalidArgument, "etcdserver: key is not provided");
    case("range of the future", range_of(pb::RangeRequest { revision: 1000, ..a_range("a") }), OutOfRange, "etcdserver: mvcc: required revision is a future revision");
    case("range of what is compacted", range_of(pb::RangeRequest { revision: 2, ..a_range("a") }), OutOfRange, "etcdserver: mvcc: required revision has been compacted");
    case("delete without key", call("/etcdserverpb.KV/DeleteRange", pb::DeleteRangeRequest::default()), InvalidArgument, "etcdserver: key is not provided");

    let many = (0..129).map(|i| Asked::RequestPut(pb::PutRequest { key: format!("k{i}").into(), ..Default::default() })).collect();
    case("txn with too many operations", txn_of(vec![], many), InvalidArgument, "etcdserver: too many operations in txn request");
    let compares = vec![pb::Compare { key: "a".into(), ..Default::default() }; 129];
    case("txn with too many conditions", txn_of(compares, vec![]), InvalidArgument, "etcdserver: too many operations in txn request");
    case("txn that puts twice", txn_of(vec![], vec![Asked::RequestPut(a_put("a")), Asked::RequestPut(a_put("a"))]), InvalidArgument, "etcdserver: duplicate key given in txn request");
    let delete = pb::DeleteRangeRequest { key: "a".into(), range_end: "b".into(), ..Default::default() };
    case("txn that puts what it deletes", txn_of(vec![], vec![Asked::RequestDeleteRange(delete), Asked::RequestPut(a_put("a"))]), InvalidArgument, "etcdserver: duplicate key given in txn request");
    case("txn with a nested put of an outer key", txn_of(vec![], vec![Asked::RequestPut(a_put("a")), Asked::RequestTxn(txn(vec![], vec![Asked::RequestPut(a_put("a"))]))]), InvalidArgument, "etcdserver: duplicate key given in txn request");
    let first_of_two = vec![Asked::RequestPut(pb::PutRequest { ignore_value: true, ..a_put("a") }), Asked::RequestRange(a_range(""))];
    case("txn with two faults", txn_of(vec![], first_of_two), InvalidArgument, "etcdserver: value is provided");
    case("txn with a put without key", txn_of(vec![], vec![Asked::RequestPut(a_put(""))]), InvalidArgument, "etcdserver: key is not provided");
    case("txn with a range without key", txn_of(vec![], vec![Asked::RequestRange(a_range(""))]), InvalidArgument, "etcdserver: key is not provided");
    case("txn with a condition without key", txn_of(vec![pb::Compare::default()], vec![]), InvalidArgument, "etcdserver: key is not provided");
    case("txn with a range of the future", txn_of(vec![], vec![Asked::RequestRange(pb::RangeRequest { revision: 1000, ..a_range("a") })]), OutOfRange, "etcdserver: mvcc: required revision is a future revision");
    case("txn with a put on an unknown lease", txn_of(vec![], vec![Asked::RequestPut(pb::PutRequest { lease: 12345, ..a_put("a") })]), NotFound, "etcdserver: requested lease not found");
    case("compaction of the future", call("/etcdserverpb.KV/Compact", pb::CompactionRequest { revision: 1000, physical: false }), OutOfRange, "etcdserver: mvcc: required revision is a future revision");
    case("compaction of what is compacted", call("/etcdserverpb.KV/Compact", pb::CompactionRequest { revision: COMPACTED, physical: false }), OutOfRange, "etcdserver: mvcc: required revision has been compacted");

    case("lease for too long", call("/etcdserverpb.Lease/LeaseGrant", pb::LeaseGrantRequest { ttl: 9_000_000_001, id: 0 }), OutOfRange, "etcdserver: too large lease TTL");
    case("lease that exists", call("/etcdserverpb.Lease/LeaseGrant", pb::LeaseGrantRequest { ttl: 100, id: LEASE }), FailedPrecondition, "etcdserver: lease already exists");
    case("revoking an unknown lease", call("/etcdserverpb.Lease/LeaseRevoke", pb::LeaseRevokeRequest { id: 12345 }), NotFound, "etcdserver: requested lease not found");
    case("hash of the future", call("/etcdserverpb.Maintenance/HashKV", pb::HashKvRequest { revision: 1000 }), OutOfRange, "etcdserver: mvcc: required revision is a future revision");
    case("hash of what is compacted", call("/etcdserverpb.Maintenance/HashKV", pb::HashKvRequest { revision: 2 }), OutOfRange, "etcdserver: mvcc: required revision has been compacted");

    case("unknown method", call("/etcdserverpb.KV/Nope", a_put("a")), Unimplemented, "unknown method Nope for service etcdserverpb.KV");
    case("unknown service", call("/foo.Bar/Nope", a_put("a")), Unimplemented, "unknown service foo.Bar");
    cases
}

/// What has to be there before the table runs.
async fn prepare(channel: &Channel) {
    let mut kv = pb::kv_client::KvClient::new(channel.clone());
    for value in ["1", "2", "3"] {
        put(&mut kv, "a", value).await.unwrap();
    }
    let compaction = pb::CompactionRequest {
        revision: COMPACTED,
        physical: true,
    };
    kv.compact(compaction).await.unwrap();
    let mut leases = pb::lease_client::LeaseClient::new(channel.clone());
    leases
        .lease_grant(pb::LeaseGrantRequest {
            ttl: 100,
            id: LEASE,
        })
        .await
        .unwrap();
}

pub async fn send(channel: &Channel, call: &Call) -> Status {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.expect("a connection");
    let path = PathAndQuery::from_static(call.path);
    let codec = ProstCodec::<Raw, Raw>::default();
    match client
        .unary(tonic::Request::new(call.body.clone()), path, codec)
        .await
    {
        Ok(_) => Status::ok(""),
        Err(status) => status,
    }
}

async fn check(channel: Channel) {
    prepare(&channel).await;
    let mut wrong = Vec::new();
    for case in table() {
        let status = send(&channel, &case.call).await;
        if (status.code(), status.message()) != (case.code, &case.text[..]) {
            wrong.push(format!(
                "{}: got {:?} {:?}, want {:?} {:?}",
                case.what,
                status.code(),
                status.message(),
                case.code,
                case.text
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A message of another shape: `revision` is a number where a put has its key.
async fn check_malformed(channel: Channel) {
    let call = Call {
        path: "/etcdserverpb.KV/Put",
        ..call(
            "",
            pb::CompactionRequest {
                revision: 300,
                physical: true,
            },
        )
    };
    let status = send(&channel, &call).await;
    assert_eq!(status.code(), Code::Internal, "{status}");
    assert!(
        status
            .message()
            .starts_with("grpc: error unmarshalling request: "),
        "{status}"
    );
}

/// Transactions in transactions, deeper than messages are read: told once, and with what to do.
async fn check_deep_nesting(channel: Channel) {
    let put = pb::RequestOp {
        request: Some(pb::request_op::Request::RequestPut(
            pb::PutRequest::default(),
        )),
    };
    let mut txn = pb::TxnRequest {
        success: vec![put],
        ..Default::default()
    };
    for _ in 0..60 {
        let inner = pb::request_op::Request::RequestTxn(txn);
        let inner = pb::RequestOp {
            request: Some(inner),
        };
        txn = pb::TxnRequest {
            success: vec![inner],
            ..Default::default()
        };
    }
    let status = send(&channel, &call("/etcdserverpb.KV/Txn", txn)).await;
    assert_eq!(
        (status.code(), status.message()),
        (
            Code::Internal,
            "grpc: error unmarshalling request: TxnRequest.success: messages lie too deep in one \
             another: nest fewer transactions"
        )
    );
}

/// Unknown leases are no errors where a client only asks.
async fn check_unknown_leases(channel: Channel) {
    let mut leases = pb::lease_client::LeaseClient::new(channel);
    let asked = pb::LeaseTimeToLiveRequest {
        id: 12345,
        keys: true,
    };
    let info = leases.lease_time_to_live(asked).await.unwrap().into_inner();
    assert_eq!((info.ttl, info.granted_ttl, info.keys.len()), (-1, 0, 0));
    let kept = pb::LeaseKeepAliveRequest { id: 12345 };
    let mut answers = leases
        .lease_keep_alive(tokio_stream::iter([kept]))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!((answer.id, answer.ttl), (12345, 0));
    assert!(
        answers.message().await.unwrap().is_none(),
        "the stream ends with its requests"
    );
}

/// Watches that cannot be: answered on the stream, which lives on.
async fn check_watches(channel: Channel) {
    use pb::watch_request::RequestUnion;
    let create = |request: pb::WatchCreateRequest| pb::WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(request)),
    };
    let a = || pb::WatchCreateRequest {
        key: "a".into(),
        ..Default::default()
    };
    let requests = [
        pb::WatchRequest {
            request_union: None,
        },
        create(pb::WatchCreateRequest {
            key: "b".into(),
            range_end: "a".into(),
            ..a()
        }),
        create(pb::WatchCreateRequest { watch_id: 7, ..a() }),
        create(pb::WatchCreateRequest { watch_id: 7, ..a() }),
        create(pb::WatchCreateRequest {
            watch_id: 8,
            start_revision: 2,
            ..a()
        }),
    ];
    let (sender, receiver) = tokio::sync::mpsc::channel(requests.len());
    for request in requests {
        sender.send(request).await.unwrap();
    }
    let mut client = pb::watch_client::WatchClient::new(channel);
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut stream = client.watch(requests).await.unwrap().into_inner();
    let mut seen = Vec::new();
    for _ in 0..5 {
        let r = stream.message().await.unwrap().unwrap();
        seen.push((
            r.watch_id,
            r.created,
            r.canceled,
            r.compact_revision,
            r.cancel_reason,
        ));
    }
    let watch = |id, created, canceled, compacted, reason: &str| {
        (id, created, canceled, compacted, reason.to_owned())
    };
    // The compacted watcher is first created and then cancelled, at a time of its own.
    seen.sort();
    assert_eq!(
        seen,
        [
            watch(
                -1,
                true,
                true,
                0,
                "mvcc: duplicate watch ID provided on the WatchStream"
            ),
            watch(-1, true, true, 0, "mvcc: watcher range is empty"),
            watch(7, true, false, 0, ""),
            watch(8, false, true, COMPACTED, ""),
            watch(8, true, false, 0, ""),
        ]
    );
}

/// Keys that are longer than any that is stored can be asked for, compared and deleted like others
/// that do not exist.
async fn check_long_keys(channel: Channel) {
    let mut kv = pb::kv_client::KvClient::new(channel);
    let long = || Bytes::from(vec![b'k'; 700_000]);
    let range = pb::RangeRequest {
        key: long(),
        ..Default::default()
    };
    let end = Bytes::from_static(b"\0");
    let from = pb::RangeRequest {
        range_end: end.clone(),
        ..range.clone()
    };
    for range in [&range, &from] {
        let reply = kv.range(range.clone()).await.unwrap().into_inner();
        assert_eq!((reply.count, reply.kvs.len()), (0, 0));
    }
    let delete = pb::DeleteRangeRequest {
        key: long(),
        range_end: end,
        prev_kv: true,
    };
    let reply = kv.delete_range(delete).await.unwrap().into_inner();
    assert_eq!(reply.deleted, 0);
    let compare = pb::Compare {
        key: long(),
        ..Default::default()
    };
    let read = txn(vec![compare], vec![Asked::RequestRange(range)]);
    assert!(kv.txn(read).await.unwrap().into_inner().succeeded);
}

/// Nothing is known of a value that does not exist, not even by an unknown operator.
async fn check_unknown_operators(channel: Channel) {
    let mut kv = pb::kv_client::KvClient::new(channel);
    for (key, target, holds) in [("a", 3, true), ("none", 3, false), ("none", 0, true)] {
        let compare = pb::Compare {
            key: key.into(),
            target,
            result: 9,
            ..Default::default()
        };
        let reply = kv.txn(txn(vec![compare], vec![])).await.unwrap();
        assert_eq!(reply.into_inner().succeeded, holds, "{key} {target}");
    }
}

/// Answers about members say no revision.
async fn check_member_header(channel: Channel) {
    let mut cluster = pb::cluster_client::ClusterClient::new(channel);
    for linearizable in [false, true] {
        let asked = pb::MemberListRequest { linearizable };
        let reply = cluster.member_list(asked).await.unwrap().into_inner();
        assert_eq!(reply.header.unwrap().revision, 0);
    }
}

/// etcd refuses this in later versions; 3.5.1 answers as if it were no order.
async fn check_sort_order(channel: Channel) {
    let status = send(
        &channel,
        &range_of(pb::RangeRequest {
            sort_order: 7,
            ..a_range("a")
        }),
    )
    .await;
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "etcdserver: invalid sort option")
    );
}

#[tokio::test]
async fn bad_input_is_answered_as_etcd_does() {
    let cluster = Cluster::started(1, &[]).await;
    let node = &cluster.nodes[0];
    check_everything(node).await;
    check_sort_order(node.channel()).await;
    node.wait_healthy().await;
}

/// What detcd and etcd answer alike.
async fn check_everything(node: &Node) {
    let channel = || node.channel();
    check(channel()).await;
    check_malformed(channel()).await;
    check_unknown_leases(channel()).await;
    check_watches(channel()).await;
    check_long_keys(channel()).await;
    check_unknown_operators(channel()).await;
    check_member_header(channel()).await;
}

#[tokio::test]
async fn the_table_is_right_about_etcd() {
    let Some(etcd) = tools::find(Tool::Etcd, "the_table_is_right_about_etcd") else {
        return;
    };
    let mut cluster = Cluster::of(etcd, 1, &[]);
    cluster.start(0);
    cluster.wait_healthy().await;
    check_everything(&cluster.nodes[0]).await;
}

/// Where detcd is stricter than etcd 3.5.1, or says what a later etcd says.
#[tokio::test]
async fn what_etcd_answers_otherwise() {
    let cluster = Cluster::started(1, &[]).await;
    let channel = cluster.nodes[0].channel();
    let status = send(&channel, &call("/nope", a_put("a"))).await;
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unimplemented, "malformed method name: \"/nope\"")
    );
    check_deep_nesting(cluster.nodes[0].channel()).await;
    put(&mut cluster.nodes[0].kv(), "a", "1").await.unwrap();
}

/// Files that are prepared before anything is written do not count against the quota.
#[tokio::test]
async fn a_small_quota_leaves_room_for_keys() {
    let cluster = Cluster::started(1, &["--quota-backend-bytes", "16777216"]).await;
    let node = &cluster.nodes[0];
    put(&mut node.kv(), "a", "1").await.unwrap();
    // The quota looks at the size once a second; an answer of the member says what it sees.
    let status = node.status().await.unwrap();
    assert!(
        0 < status.db_size_in_use && status.db_size < 1024 * 1024,
        "{status:?}"
    );
}

#[tokio::test]
async fn streamed_ranges_cannot_be_sorted_or_filtered() {
    let cluster = Cluster::started(1, &[]).await;
    let mut kv = cluster.nodes[0].kv();
    let sorted = pb::RangeRequest {
        sort_target: 1,
        sort_order: 1,
        ..a_range("a")
    };
    let filtered = pb::RangeRequest {
        min_mod_revision: 1,
        ..a_range("a")
    };
    for (request, text) in [
        (sorted, "RangeStream does not support custom sort orders"),
        (filtered, "RangeStream does not support revision filters"),
    ] {
        let status = match kv.range_stream(request).await {
            Err(status) => status,
            Ok(stream) => stream.into_inner().message().await.unwrap_err(),
        };
        assert_eq!(
            (status.code(), status.message()),
            (Code::Unimplemented, text)
        );
    }
}

#[tokio::test]
async fn who_wants_a_leader_is_told_that_there_is_none() {
    let mut cluster = Cluster::new(3, &[]);
    cluster.start(0);
    let node = &cluster.nodes[0];
    crate::cluster::eventually("an answer", || node.get("/health")).await;
    let mut request = tonic::Request::new(pb::RangeRequest {
        serializable: true,
        ..a_range("a")
    });
    request
        .metadata_mut()
        .insert("hasleader", "true".parse().unwrap());
    let status = node.kv().range(request).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "etcdserver: no leader")
    );
}
