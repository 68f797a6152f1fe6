//! Random requests over few keys, so that they meet.

use bytes::Bytes;
use detcd_core::api::*;
use detcd_core::command::Command;
use detcd_core::validate::{self, Limits};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, FileFailurePersistence};

/// A property's settings; what fails is kept in `proptest-regressions/core-<name>.txt`.
pub fn config(name: &str, cases: u32) -> Config {
    let root = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../proptest-regressions/core-"
    );
    let path: &'static str = format!("{root}{name}.txt").leak();
    Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(path))),
        ..Config::default()
    }
}

pub fn key() -> impl Strategy<Value = Bytes> {
    // Keys that are prefixes of others, and zero bytes, which the history's keys escape.
    select(vec![
        &b"a"[..],
        b"a\0",
        b"a\0\xff",
        b"a\x01",
        b"b",
        b"c",
        b"ca",
        b"\xff",
        b"\xff\xff",
    ])
    .prop_map(Bytes::from_static)
}

pub fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        select(vec![&b""[..], b"1", b"2", b"3"]).prop_map(Bytes::from_static),
        (1usize..300).prop_map(|len| Bytes::from(vec![b'v'; len])),
    ]
}

pub fn key_range() -> impl Strategy<Value = KeyRange> {
    let all = KeyRange::Span {
        start: Bytes::from_static(b"\0"),
        end: None,
    };
    prop_oneof![
        3 => key().prop_map(KeyRange::One),
        3 => (key(), key()).prop_map(|(start, end)| KeyRange::Span { start, end: Some(end) }),
        1 => key().prop_map(|start| KeyRange::Span { start, end: None }),
        2 => Just(all),
    ]
}

pub fn lease() -> impl Strategy<Value = LeaseId> {
    select(vec![0, 0, 1, 2, -3, i64::MAX, i64::MIN]).prop_map(LeaseId)
}

fn revision() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0), 6 => 1i64..40, 1 => -3i64..0]
}

pub fn range() -> impl Strategy<Value = RangeRequest> {
    let bound = || prop_oneof![6 => Just(0), 1 => 1i64..30];
    let order = select(vec![
        SortOrder::None,
        SortOrder::None,
        SortOrder::Ascend,
        SortOrder::Descend,
    ]);
    let target = select(vec![
        SortTarget::Key,
        SortTarget::Key,
        SortTarget::Version,
        SortTarget::Create,
        SortTarget::Mod,
        SortTarget::Value,
    ]);
    let limit = select(vec![0, 0, 1, 2, 3, -1, i64::MAX]);
    let flags = (
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
    );
    (
        key_range(),
        limit,
        revision(),
        order,
        target,
        flags,
        [bound(), bound(), bound(), bound()],
    )
        .prop_map(
            |(range, limit, revision, sort_order, sort_target, flags, bounds)| {
                let (serializable, keys_only, count_only) = flags;
                let [
                    min_mod_revision,
                    max_mod_revision,
                    min_create_revision,
                    max_create_revision,
                ] = bounds;
                RangeRequest {
                    range,
                    limit,
                    revision,
                    sort_order,
                    sort_target,
                    serializable,
                    keys_only,
                    count_only,
                    min_mod_revision,
                    max_mod_revision,
                    min_create_revision,
                    max_create_revision,
                }
            },
        )
}

pub fn put() -> impl Strategy<Value = PutRequest> {
    let flag = || prop::bool::weighted(0.2);
    (key(), value(), lease(), flag(), flag(), flag()).prop_map(
        |(key, value, lease, prev_kv, ignore_value, ignore_lease)| PutRequest {
            key,
            value: if ignore_value { Bytes::new() } else { value },
            lease: if ignore_lease { LeaseId::NONE } else { lease },
            prev_kv,
            ignore_value,
            ignore_lease,
        },
    )
}

pub fn delete_range() -> impl Strategy<Value = DeleteRangeRequest> {
    (key_range(), any::<bool>()).prop_map(|(range, prev_kv)| DeleteRangeRequest { range, prev_kv })
}

fn compare() -> impl Strategy<Value = Compare> {
    let op = select(vec![
        CompareOp::Equal,
        CompareOp::Greater,
        CompareOp::Less,
        CompareOp::NotEqual,
    ]);
    let target = prop_oneof![
        (0i64..4).prop_map(CompareTarget::Version),
        (0i64..20).prop_map(CompareTarget::Create),
        (0i64..20).prop_map(CompareTarget::Mod),
        value().prop_map(CompareTarget::Value),
        lease().prop_map(CompareTarget::Lease),
    ];
    (key_range(), op, target).prop_map(|(range, op, target)| Compare { range, op, target })
}

/// Any transaction, also one that validation refuses.
pub fn any_txn() -> impl Strategy<Value = TxnRequest> {
    let op = prop_oneof![
        range().prop_map(Op::Range),
        put().prop_map(Op::Put),
        delete_range().prop_map(Op::DeleteRange),
    ];
    let txn = move |op: BoxedStrategy<Op>| {
        let ops = || prop::collection::vec(op.clone(), 0..4);
        (prop::collection::vec(compare(), 0..2), ops(), ops()).prop_map(
            |(compare, success, failure)| TxnRequest {
                compare,
                success,
                failure,
            },
        )
    };
    let op = op
        .boxed()
        .prop_recursive(2, 12, 3, move |inner| txn(inner).prop_map(Op::Txn));
    let ops = move || prop::collection::vec(op.clone(), 0..4);
    (prop::collection::vec(compare(), 0..3), ops(), ops()).prop_map(
        |(compare, success, failure)| TxnRequest {
            compare,
            success,
            failure,
        },
    )
}

/// A transaction that may be proposed: what overlaps is taken out of it.
pub fn txn() -> impl Strategy<Value = TxnRequest> {
    any_txn().prop_map(|mut txn| {
        while validate::txn(&txn, &Limits::default()).is_err() {
            if txn.success.pop().is_none() {
                txn.failure.pop();
            }
        }
        txn
    })
}

fn alarm() -> impl Strategy<Value = Command> {
    let kind = prop_oneof![Just(AlarmKind::NoSpace), Just(AlarmKind::Corrupt)];
    (0u8..13, 1u64..3, kind).prop_map(|(raise, member, kind)| {
        let alarm = Alarm {
            member: MemberId(member),
            kind,
        };
        match raise {
            0 => Command::AlarmRaise(alarm),
            _ => Command::AlarmDisarm(alarm),
        }
    })
}

pub fn command() -> impl Strategy<Value = Command> {
    let some_lease = || lease().prop_filter("zero is no lease", |lease| *lease != LeaseId::NONE);
    let client_urls = prop::collection::vec("[a-z]{0,3}", 0..3);
    let publish =
        ("[a-z]{0,3}", client_urls, any::<Option<u64>>()).prop_map(|(name, client_urls, log)| {
            Command::MemberPublish {
                id: MemberId(7),
                name,
                client_urls,
                log,
            }
        });
    prop_oneof![
        8 => put().prop_map(Command::Put),
        4 => delete_range().prop_map(Command::DeleteRange),
        6 => txn().prop_map(Command::Txn),
        1 => (-2i64..40, any::<bool>()).prop_map(|(revision, physical)|
            Command::Compact(CompactRequest { revision, physical })),
        3 => (some_lease(), 1i64..99).prop_map(|(id, ttl)| Command::LeaseGrant { id, ttl }),
        1 => some_lease().prop_map(|id| Command::LeaseRevoke { id }),
        1 => publish,
        // Seldom raised, or nothing else would ever be applied.
        1 => alarm(),
    ]
}
