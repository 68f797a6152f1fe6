//! What a hostile or odd client can send: never a panic, and etcd's meaning where it has one.

use crate::etcdserverpb as pb;
use crate::watch::watch_request;
use bytes::Bytes;
use detcd_core::api::*;
use detcd_core::error::Error;
use pb::compare::{CompareResult, CompareTarget as Target, TargetUnion};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..200)) {
        take(&bytes);
    }

    /// Closer to the code than plain garbage: valid messages with bytes changed.
    #[test]
    fn damaged_transactions_never_panic(
        txn in super::generate::txn_request(),
        at in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let mut bytes = pb::TxnRequest::from(txn).encode_to_vec();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        take(&bytes);
    }
}

fn take(bytes: &[u8]) {
    let _ = pb::RangeRequest::decode(bytes).map(RangeRequest::try_from);
    let _ = pb::PutRequest::decode(bytes).map(PutRequest::try_from);
    let _ = pb::DeleteRangeRequest::decode(bytes).map(DeleteRangeRequest::try_from);
    let _ = pb::TxnRequest::decode(bytes).map(TxnRequest::try_from);
    let _ = pb::TxnResponse::decode(bytes).map(TxnReply::try_from);
    let _ = pb::CompactionRequest::decode(bytes).map(CompactRequest::from);
    let _ = pb::WatchRequest::decode(bytes).map(watch_request);
    let _ = pb::WatchResponse::decode(bytes).map(WatchResponse::try_from);
}

#[test]
fn a_deeply_nested_transaction_is_refused_by_the_decoder() {
    let mut txn = pb::TxnRequest::default();
    for _ in 0..1000 {
        let op = pb::RequestOp {
            request: Some(pb::request_op::Request::RequestTxn(txn)),
        };
        txn = pb::TxnRequest {
            success: vec![op],
            ..Default::default()
        };
    }
    let bytes = txn.encode_to_vec();
    assert!(pb::TxnRequest::decode(&bytes[..]).is_err());
}

/// What is wrong with a request is found by the one validation, in etcd's order; only what has no
/// domain value is refused here.
#[test]
fn operations_without_a_request_are_refused() {
    assert_eq!(
        Op::try_from(pb::RequestOp::default()),
        Err(Error::KeyNotFound)
    );
}

#[test]
fn unknown_sort_numbers_are_refused() {
    let key = Bytes::from_static(b"k");
    let order = pb::RangeRequest {
        key: key.clone(),
        sort_order: 3,
        ..Default::default()
    };
    let target = pb::RangeRequest {
        key,
        sort_target: -1,
        ..Default::default()
    };
    assert_eq!(RangeRequest::try_from(order), Err(Error::InvalidSortOption));
    assert_eq!(
        RangeRequest::try_from(target),
        Err(Error::InvalidSortOption)
    );
}

fn compare(result: i32, target: i32, union: Option<TargetUnion>) -> (CompareOp, CompareTarget) {
    let compare = Compare::from(pb::Compare {
        result,
        target,
        key: Bytes::from_static(b"k"),
        range_end: Bytes::new(),
        target_union: union,
    });
    (compare.op, compare.target)
}

#[test]
fn a_compare_without_its_value_compares_with_zero() {
    let less = CompareResult::Less.into();
    let zero = |target: Target| compare(less, target.into(), None).1;
    assert_eq!(zero(Target::Version), CompareTarget::Version(0));
    assert_eq!(zero(Target::Create), CompareTarget::Create(0));
    assert_eq!(zero(Target::Mod), CompareTarget::Mod(0));
    assert_eq!(zero(Target::Value), CompareTarget::Value(Bytes::new()));
    assert_eq!(zero(Target::Lease), CompareTarget::Lease(LeaseId::NONE));

    let other = Some(TargetUnion::Value(Bytes::from_static(b"v")));
    assert_eq!(
        compare(less, Target::Mod.into(), other).1,
        CompareTarget::Mod(0)
    );
}

#[test]
fn unknown_operators_hold_and_unknown_targets_are_equal() {
    let always = (CompareOp::NotEqual, CompareTarget::Version(-1));
    let never = (CompareOp::Equal, CompareTarget::Version(-1));
    assert_eq!(compare(77, Target::Mod.into(), None), always);
    // The value of a key that does not exist is the exception: the key has to.
    let exists = (CompareOp::Greater, CompareTarget::Version(0));
    assert_eq!(compare(77, Target::Value.into(), None), exists);
    assert_eq!(compare(77, 77, None), always);
    assert_eq!(compare(CompareResult::Equal.into(), 77, None), always);
    assert_eq!(compare(CompareResult::NotEqual.into(), 77, None), never);
    assert_eq!(compare(CompareResult::Greater.into(), 77, None), never);
    assert_eq!(compare(CompareResult::Less.into(), 77, None), never);
}

#[test]
fn a_watch_of_the_empty_key_starts_at_the_first() {
    let range = |end: &'static [u8]| {
        let create = pb::WatchCreateRequest {
            range_end: Bytes::from_static(end),
            ..Default::default()
        };
        WatchCreate::from(create).range
    };
    let first = Bytes::from_static(&[0]);
    assert_eq!(range(b""), KeyRange::One(first.clone()));
    assert_eq!(
        range(&[0]),
        KeyRange::Span {
            start: first.clone(),
            end: None
        }
    );
    let end = Some(Bytes::from_static(b"m"));
    assert_eq!(range(b"m"), KeyRange::Span { start: first, end });
}

#[test]
fn a_watch_request_without_content_is_passed_over() {
    assert_eq!(watch_request(pb::WatchRequest::default()), None);
}
