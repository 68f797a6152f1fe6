//! Strategies for the domain types.

use bytes::Bytes;
use detcd_core::api::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

pub fn blob() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..8).prop_map(Bytes::from)
}

pub fn key() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 1..4).prop_map(Bytes::from)
}

/// Every range that a request can name: ends that read as "one key" or "all from here" on the wire
/// are no ends.
pub fn range() -> impl Strategy<Value = KeyRange> {
    let end = option::of(key().prop_filter("reserved", |end| end[..] != [0]));
    prop_oneof![
        key().prop_map(KeyRange::One),
        (key(), end).prop_map(|(start, end)| KeyRange::Span { start, end }),
    ]
}

pub fn key_value() -> impl Strategy<Value = KeyValue> {
    (key(), blob(), any::<[i64; 3]>(), any::<i64>()).prop_map(|(key, value, numbers, lease)| {
        KeyValue {
            key,
            value,
            create_revision: numbers[0],
            mod_revision: numbers[1],
            version: numbers[2],
            lease: LeaseId(lease),
        }
    })
}

pub fn range_request() -> impl Strategy<Value = RangeRequest> {
    let order = select(vec![SortOrder::None, SortOrder::Ascend, SortOrder::Descend]);
    let target = select(vec![
        SortTarget::Key,
        SortTarget::Version,
        SortTarget::Create,
        SortTarget::Mod,
        SortTarget::Value,
    ]);
    (
        range(),
        order,
        target,
        any::<[i64; 6]>(),
        any::<[bool; 3]>(),
    )
        .prop_map(
            |(range, sort_order, sort_target, numbers, flags)| RangeRequest {
                range,
                limit: numbers[0],
                revision: numbers[1],
                sort_order,
                sort_target,
                serializable: flags[0],
                keys_only: flags[1],
                count_only: flags[2],
                min_mod_revision: numbers[2],
                max_mod_revision: numbers[3],
                min_create_revision: numbers[4],
                max_create_revision: numbers[5],
            },
        )
}

pub fn put_request() -> impl Strategy<Value = PutRequest> {
    (key(), blob(), any::<i64>(), any::<[bool; 3]>()).prop_map(|(key, value, lease, flags)| {
        PutRequest {
            key,
            value,
            lease: LeaseId(lease),
            prev_kv: flags[0],
            ignore_value: flags[1],
            ignore_lease: flags[2],
        }
    })
}

pub fn delete_request() -> impl Strategy<Value = DeleteRangeRequest> {
    (range(), any::<bool>()).prop_map(|(range, prev_kv)| DeleteRangeRequest { range, prev_kv })
}

pub fn compare() -> impl Strategy<Value = Compare> {
    let op = select(vec![
        CompareOp::Equal,
        CompareOp::Greater,
        CompareOp::Less,
        CompareOp::NotEqual,
    ]);
    let target = prop_oneof![
        any::<i64>().prop_map(CompareTarget::Version),
        any::<i64>().prop_map(CompareTarget::Create),
        any::<i64>().prop_map(CompareTarget::Mod),
        blob().prop_map(CompareTarget::Value),
        any::<i64>().prop_map(|id| CompareTarget::Lease(LeaseId(id))),
    ];
    (range(), op, target).prop_map(|(range, op, target)| Compare { range, op, target })
}

pub fn txn_request() -> impl Strategy<Value = TxnRequest> {
    let leaf = prop_oneof![
        range_request().prop_map(Op::Range),
        put_request().prop_map(Op::Put),
        delete_request().prop_map(Op::DeleteRange),
    ];
    let op = leaf.prop_recursive(3, 16, 3, |op| {
        (vec(compare(), 0..2), vec(op.clone(), 0..3), vec(op, 0..3)).prop_map(
            |(compare, success, failure)| {
                Op::Txn(TxnRequest {
                    compare,
                    success,
                    failure,
                })
            },
        )
    });
    (vec(compare(), 0..3), vec(op.clone(), 0..3), vec(op, 0..3)).prop_map(
        |(compare, success, failure)| TxnRequest {
            compare,
            success,
            failure,
        },
    )
}

pub fn range_reply() -> impl Strategy<Value = RangeReply> {
    (vec(key_value(), 0..4), any::<bool>(), any::<i64>())
        .prop_map(|(kvs, more, count)| RangeReply { kvs, more, count })
}

pub fn put_reply() -> impl Strategy<Value = PutReply> {
    option::of(key_value()).prop_map(|prev_kv| PutReply { prev_kv })
}

pub fn delete_reply() -> impl Strategy<Value = DeleteRangeReply> {
    (any::<i64>(), vec(key_value(), 0..4))
        .prop_map(|(deleted, prev_kvs)| DeleteRangeReply { deleted, prev_kvs })
}

/// The revision beside a nested transaction is zero, because etcd does not send it.
pub fn txn_reply() -> impl Strategy<Value = TxnReply> {
    let leaf = prop_oneof![
        (range_reply().prop_map(OpReply::Range), any::<i64>()),
        (put_reply().prop_map(OpReply::Put), any::<i64>()),
        (delete_reply().prop_map(OpReply::DeleteRange), any::<i64>()),
    ];
    let op = leaf.prop_recursive(3, 16, 3, |op| {
        gather(any::<bool>(), vec(op, 0..3)).prop_map(|txn| (OpReply::Txn(txn), 0))
    });
    gather(any::<bool>(), vec(op, 0..3))
}

pub fn watch_create() -> impl Strategy<Value = WatchCreate> {
    (range(), any::<[i64; 2]>(), any::<[bool; 5]>()).prop_map(|(range, numbers, flags)| {
        WatchCreate {
            id: WatchId(numbers[0]),
            range,
            start_revision: numbers[1],
            progress_notify: flags[0],
            no_put: flags[1],
            no_delete: flags[2],
            prev_kv: flags[3],
            fragment: flags[4],
        }
    })
}

pub fn watch_request() -> impl Strategy<Value = WatchRequest> {
    prop_oneof![
        watch_create().prop_map(WatchRequest::Create),
        any::<i64>().prop_map(|id| WatchRequest::Cancel(WatchId(id))),
        Just(WatchRequest::Progress),
    ]
}

pub fn watch_response() -> impl Strategy<Value = WatchResponse> {
    let kind = select(vec![ChangeKind::Put, ChangeKind::Delete]);
    let change = (kind, key_value(), option::of(key_value()))
        .prop_map(|(kind, kv, prev_kv)| KeyChange { kind, kv, prev_kv });
    (
        any::<[i64; 3]>(),
        any::<[bool; 3]>(),
        ".{0,8}",
        vec(change, 0..4),
    )
        .prop_map(|(numbers, flags, cancel_reason, events)| WatchResponse {
            watch_id: numbers[0],
            revision: numbers[1],
            created: flags[0],
            canceled: flags[1],
            cancel_reason,
            compact_revision: numbers[2],
            fragment: flags[2],
            events,
        })
}

pub fn lease_info() -> impl Strategy<Value = LeaseInfo> {
    (any::<[i64; 3]>(), vec(key(), 0..4)).prop_map(|(numbers, keys)| LeaseInfo {
        id: LeaseId(numbers[0]),
        ttl: numbers[1],
        granted_ttl: numbers[2],
        keys,
    })
}

pub fn member() -> impl Strategy<Value = Member> {
    let urls = || vec("http://[a-z]{1,8}:[0-9]{1,4}", 0..3);
    (any::<u64>(), "[a-z]{0,5}", urls(), urls(), any::<bool>()).prop_map(
        |(id, name, peer_urls, client_urls, is_learner)| Member {
            id: MemberId(id),
            name,
            peer_urls,
            client_urls,
            is_learner,
        },
    )
}

fn gather(
    succeeded: impl Strategy<Value = bool>,
    ops: impl Strategy<Value = Vec<(OpReply, i64)>>,
) -> impl Strategy<Value = TxnReply> {
    (succeeded, ops).prop_map(|(succeeded, ops)| {
        let (responses, revisions) = ops.into_iter().unzip();
        TxnReply {
            succeeded,
            responses,
            revisions,
        }
    })
}
