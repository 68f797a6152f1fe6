//! What is refused before it is proposed. The overlaps within transactions are in the recordings
//! of etcd.

use bytes::Bytes;
use detcd_core::api::*;
use detcd_core::error::Error;
use detcd_core::limits::{LEASE_TTL_MAX, REQUEST_BYTES_MAX, TXN_DEPTH_MAX};
use detcd_core::validate::{self, Limits};

fn put(key: &'static str) -> PutRequest {
    PutRequest {
        key: Bytes::from_static(key.as_bytes()),
        ..PutRequest::default()
    }
}

fn read(key: &'static str) -> Op {
    Op::Range(RangeRequest::of(KeyRange::One(Bytes::from_static(
        key.as_bytes(),
    ))))
}

fn then(success: Vec<Op>) -> TxnRequest {
    TxnRequest {
        success,
        ..TxnRequest::default()
    }
}

fn check(txn: &TxnRequest) -> Result<(), Error> {
    validate::txn(txn, &Limits::default())
}

#[test]
fn puts() {
    assert_eq!(validate::put(&put("")), Err(Error::EmptyKey));
    assert_eq!(validate::put(&put("k")), Ok(()));
    let value = PutRequest {
        ignore_value: true,
        value: Bytes::from_static(b"v"),
        ..put("k")
    };
    assert_eq!(validate::put(&value), Err(Error::ValueProvided));
    let lease = PutRequest {
        ignore_lease: true,
        lease: LeaseId(1),
        ..put("k")
    };
    assert_eq!(validate::put(&lease), Err(Error::LeaseProvided));
    let long = PutRequest {
        key: Bytes::from(vec![0; REQUEST_BYTES_MAX]),
        ..PutRequest::default()
    };
    assert_eq!(
        validate::put(&long),
        Ok(()),
        "the request is what is bounded"
    );
}

#[test]
fn ranges() {
    let empty = KeyRange::One(Bytes::new());
    let from_empty = KeyRange::Span {
        start: Bytes::new(),
        end: None,
    };
    for range in [empty, from_empty] {
        assert_eq!(
            validate::range(&RangeRequest::of(range.clone())),
            Err(Error::EmptyKey)
        );
        let delete = DeleteRangeRequest {
            range: range.clone(),
            prev_kv: false,
        };
        assert_eq!(validate::delete_range(&delete), Err(Error::EmptyKey));
        let compare = Compare {
            range,
            op: CompareOp::Equal,
            target: CompareTarget::Version(0),
        };
        let txn = TxnRequest {
            compare: vec![compare],
            ..TxnRequest::default()
        };
        assert_eq!(check(&txn), Err(Error::EmptyKey));
    }
}

#[test]
fn transactions_are_checked_to_their_leaves() {
    let bad = [
        (read(""), Error::EmptyKey),
        (Op::Put(put("")), Error::EmptyKey),
        (
            Op::Put(PutRequest {
                ignore_lease: true,
                lease: LeaseId(1),
                ..put("k")
            }),
            Error::LeaseProvided,
        ),
    ];
    for (op, error) in bad {
        assert_eq!(check(&then(vec![op.clone()])), Err(error.clone()));
        let nested = then(vec![Op::Txn(then(vec![op]))]);
        assert_eq!(check(&nested), Err(error.clone()));
        let unlikely = TxnRequest {
            failure: nested.success,
            ..TxnRequest::default()
        };
        assert_eq!(check(&unlikely), Err(error));
    }
}

#[test]
fn what_is_nested_shares_the_number_of_operations() {
    assert_eq!(check(&then(vec![read("k"); 128])), Ok(()));
    assert_eq!(check(&then(vec![read("k"); 129])), Err(Error::TooManyOps));
    let nested = |inner| then(vec![Op::Txn(then(vec![read("k"); inner]))]);
    assert_eq!(check(&nested(127)), Ok(()));
    assert_eq!(check(&nested(128)), Err(Error::TooManyOps));
    let limits = Limits {
        txn_ops_max: 200,
        ..Limits::default()
    };
    assert_eq!(validate::txn(&nested(199), &limits), Ok(()));
}

#[test]
fn depth_is_bounded_before_anything_recurses_into_it() {
    let deep = |depth| (1..depth).fold(TxnRequest::default(), |txn, _| then(vec![Op::Txn(txn)]));
    assert_eq!(check(&deep(TXN_DEPTH_MAX)), Ok(()));
    assert_eq!(check(&deep(TXN_DEPTH_MAX + 1)), Err(Error::TooManyOps));
}

#[test]
fn leases_and_sizes() {
    assert_eq!(validate::lease_ttl(-5, 2), Ok(2));
    assert_eq!(validate::lease_ttl(60, 2), Ok(60));
    assert_eq!(validate::lease_ttl(LEASE_TTL_MAX, 2), Ok(LEASE_TTL_MAX));
    assert_eq!(
        validate::lease_ttl(LEASE_TTL_MAX + 1, 2),
        Err(Error::LeaseTtlTooLarge)
    );
    let limits = Limits {
        request_bytes_max: 10,
        ..Limits::default()
    };
    assert_eq!(
        validate::command_size(&Bytes::from(vec![0; 10]), &limits),
        Ok(())
    );
    let large = Bytes::from(vec![0; 11]);
    assert_eq!(
        validate::command_size(&large, &limits),
        Err(Error::RequestTooLarge)
    );
}
