//! Operations as text: one word follows the other, separated by blanks.
//!
//! ```text
//! operation  TIME cCLIENT mMEMBER request
//! request    get RANGE [limit=N] [rev=N] [serializable] [keys] [count]
//!                      [sort=key|version|create|mod|value] [ascend|descend]
//!                      [min-mod=N] [max-mod=N] [min-create=N] [max-create=N]
//!            put KEY VALUE [lease=HEX] [prev] [keep-value] [keep-lease]
//!            delete RANGE [prev]
//!            txn [if compare...] [then ( request )...] [else ( request )...]
//!            grant HEX SECONDS | revoke HEX | compact REVISION [physical]
//! REVISION   N | newest | newest-N | newest+N   (the newest one that the client can read then)
//! compare    RANGE version|create|mod|value|lease =|!=|<|> WORD
//! RANGE      KEY | KEY..KEY | KEY..      (to the end of all keys)
//! ```
//!
//! Keys and values are bytes: what is not plain is escaped as `\x20`, and nothing is `""`.

mod read;
mod write;

pub use super::Line;
pub use read::parse;
pub use write::Shown;

use crate::history::Request;
use bytes::Bytes;
use detcd_core::api::{CompareOp, CompareTarget, Op, SortOrder, SortTarget, TxnRequest};
use std::time::Duration;

/// Cuts off the dots that pad values.
pub fn shorten_values(request: &mut Request) {
    match request {
        Request::Put(put) => shorten(&mut put.value),
        Request::Txn(txn) => shorten_in(txn),
        _ => {}
    }
}

fn shorten_in(txn: &mut TxnRequest) {
    for compare in &mut txn.compare {
        if let CompareTarget::Value(value) = &mut compare.target {
            shorten(value);
        }
    }
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match op {
            Op::Put(put) => shorten(&mut put.value),
            Op::Txn(txn) => shorten_in(txn),
            Op::Range(_) | Op::DeleteRange(_) => {}
        }
    }
}

fn shorten(value: &mut Bytes) {
    let kept = value.iter().rposition(|byte| *byte != b'.');
    value.truncate(kept.map_or(0, |last| last + 1));
}

/// A time in whole units of so many microseconds.
pub fn rounded(at: Duration, unit: u64) -> Duration {
    Duration::from_micros(at.as_micros() as u64 / unit * unit)
}

const SORT_TARGETS: [(&str, SortTarget); 5] = [
    ("key", SortTarget::Key),
    ("version", SortTarget::Version),
    ("create", SortTarget::Create),
    ("mod", SortTarget::Mod),
    ("value", SortTarget::Value),
];

const SORT_ORDERS: [(&str, SortOrder); 2] = [
    ("ascend", SortOrder::Ascend),
    ("descend", SortOrder::Descend),
];

const COMPARE_OPS: [(&str, CompareOp); 4] = [
    ("=", CompareOp::Equal),
    ("!=", CompareOp::NotEqual),
    ("<", CompareOp::Less),
    (">", CompareOp::Greater),
];

#[cfg(test)]
mod tests {
    use super::*;
    use detcd_core::api::{Compare, KeyRange, LeaseId, PutRequest, RangeRequest};
    use proptest::prelude::*;
    use proptest::test_runner::FileFailurePersistence;

    #[test]
    fn operations_read_as_they_are_written() {
        let lines = [
            "1500ms c1 m2 put k/1 first",
            "1500.250ms c1 m2 put k/1 \"\" lease=7b prev",
            "2000ms c2 m1 get k/0..k0 limit=2 rev=5 serializable keys sort=mod descend",
            "2000ms c2 m1 delete a\\x20b.. prev",
            "3000ms c12 m3 txn if k/0 version = 0 k/1 value != v then ( put k/0 x ) ( get k/0.. ) \
             else ( txn if k/2 mod > 7 then ( delete k/2 ) )",
            "4000ms c1 m1 grant ffffffffffffffff 5",
            "4001ms c1 m1 compact 12 physical",
            "4001ms c1 m1 compact newest",
            "4001ms c1 m1 compact newest-3 physical",
            "4001ms c1 m1 compact newest+70",
        ];
        for line in lines {
            let parsed = parse(line).unwrap_or_else(|why| panic!("{line}: {why}"));
            assert_eq!(parsed.to_string(), line);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (line, why) in [
            ("soon c1 m1 get k", "`soon` is no time such as 1500ms or 2s"),
            (
                "1s 1 m1 get k",
                "`1` stands where a client such as c1 belongs",
            ),
            ("1s c1 m0 get k", "members are counted from 1"),
            ("1s c1 m1 put k", "a value is missing"),
            (
                "1s c1 m1 get k twice",
                "`twice` is not part of the operation",
            ),
            ("1s c1 m1 txn then ( get k", "a `)` is missing"),
            (
                "1s c1 m1 compact newest3",
                "`newest3` is no revision such as 12 or newest-3",
            ),
            (
                "1s c1 m1 get k sort=size",
                "`size` is none of key, version, create, mod, value",
            ),
        ] {
            assert_eq!(parse(line), Err(why.to_owned()), "{line}");
        }
    }

    fn any_bytes() -> impl Strategy<Value = Bytes> {
        let nasty = prop::sample::select(vec![
            b'.', b'(', b')', b'"', b'\\', b' ', b'=', 0, 255, b'k',
        ]);
        prop::collection::vec(nasty, 0..5).prop_map(Bytes::from)
    }

    fn any_range() -> impl Strategy<Value = KeyRange> {
        let end = any_bytes().prop_filter("an end is a key", |end| !end.is_empty());
        prop_oneof![
            any_bytes().prop_map(KeyRange::One),
            (any_bytes(), prop::option::of(end))
                .prop_map(|(start, end)| KeyRange::Span { start, end }),
        ]
    }

    fn any_op() -> impl Strategy<Value = Op> {
        let get = (any_range(), 0i64..3, any::<bool>(), 0i64..9).prop_map(
            |(range, limit, flag, revision)| {
                let get = RangeRequest {
                    limit,
                    revision,
                    serializable: flag,
                    count_only: !flag,
                    ..RangeRequest::of(range)
                };
                Op::Range(get)
            },
        );
        let put = (any_bytes(), any_bytes(), any::<i64>(), any::<bool>()).prop_map(
            |(key, value, lease, prev_kv)| {
                let lease = LeaseId(lease);
                Op::Put(PutRequest {
                    key,
                    value,
                    lease,
                    prev_kv,
                    ..PutRequest::default()
                })
            },
        );
        let leaf = prop_oneof![get, put];
        leaf.prop_recursive(3, 12, 3, |inner| {
            let compare = (any_range(), any_bytes()).prop_map(|(range, value)| Compare {
                range,
                op: CompareOp::Less,
                target: CompareTarget::Value(value),
            });
            let branch = prop::collection::vec(inner, 0..3);
            (prop::collection::vec(compare, 0..3), branch.clone(), branch).prop_map(
                |(compare, success, failure)| {
                    Op::Txn(TxnRequest {
                        compare,
                        success,
                        failure,
                    })
                },
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
                concat!(env!("CARGO_MANIFEST_DIR"), "/../proptest-regressions/sim/script.txt"),
            ))),
            ..ProptestConfig::default()
        })]

        #[test]
        fn any_operation_reads_as_it_is_written(op in any_op(), at in 0u64..10_000_000) {
            let request = match op {
                Op::Range(get) => Request::Range(get),
                Op::Put(put) => Request::Put(put),
                Op::DeleteRange(delete) => Request::Delete(delete),
                Op::Txn(txn) => Request::Txn(txn),
            };
            let line = Line { at: Duration::from_micros(at), client: 3, member: 1, request, from_newest: false };
            prop_assert_eq!(parse(&line.to_string()), Ok(line));
        }
    }
}
