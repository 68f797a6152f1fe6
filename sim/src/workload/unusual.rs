//! Requests as few clients send them, made of plain ones: every field that a read has, within
//! transactions too, comparisons of whole ranges, and of keys that the transaction writes itself.

use crate::history::Request;
use crate::rng::Rng;
use detcd_core::api::{
    Compare, CompareOp, CompareTarget, KeyRange, LeaseId, Op, RangeRequest, SortOrder, SortTarget,
    TxnRequest,
};

/// The same request, but odd. `newest` is the newest revision that the client knows of, and `all`
/// the range of all keys that it works on.
pub fn make_unusual(request: Request, rng: &mut Rng, newest: i64, all: &KeyRange) -> Request {
    match request {
        Request::Range(mut range) => {
            if rng.chance(0.3) {
                range.range = from_key(range.range);
                // Beyond the own keys there may be many others, and large ones.
                range.keys_only = true;
            }
            read(&mut range, rng, newest);
            Request::Range(range)
        }
        Request::Txn(mut txn) => {
            transaction(&mut txn, rng, newest, all);
            Request::Txn(txn)
        }
        Request::LeaseGrant { ttl, .. } => {
            let id = LeaseId::NONE;
            Request::LeaseGrant { id, ttl }
        }
        other => other,
    }
}

/// Every key from the first of these on.
fn from_key(range: KeyRange) -> KeyRange {
    let (KeyRange::One(start) | KeyRange::Span { start, .. }) = range;
    KeyRange::Span { start, end: None }
}

fn read(range: &mut RangeRequest, rng: &mut Rng, newest: i64) {
    let targets = [
        SortTarget::Key,
        SortTarget::Version,
        SortTarget::Create,
        SortTarget::Mod,
        SortTarget::Value,
    ];
    let orders = [SortOrder::None, SortOrder::Ascend, SortOrder::Descend];
    if rng.chance(0.5) {
        (range.sort_target, range.sort_order) = (*rng.pick(&targets), *rng.pick(&orders));
    }
    if rng.chance(0.5) {
        range.limit = rng.range(1..=4) as i64;
    }
    if rng.chance(0.3) {
        // Now and then one that is still to come.
        range.revision = rng.range(1..=newest.max(1) as u64 + 2) as i64;
    }
    range.serializable |= rng.chance(0.1);
    range.keys_only |= rng.chance(0.1);
    range.count_only |= rng.chance(0.1);
}

fn transaction(txn: &mut TxnRequest, rng: &mut Rng, newest: i64, all: &KeyRange) {
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match op {
            Op::Range(range) => {
                if rng.chance(0.5) {
                    range.range = all.clone();
                }
                read(range, rng, newest);
            }
            Op::Txn(nested) => transaction(nested, rng, newest, all),
            Op::Put(_) | Op::DeleteRange(_) => {}
        }
    }
    if rng.chance(0.3) {
        txn.compare.push(of_range(rng, newest, all));
    }
    if rng.chance(0.3) {
        compare_with_the_past(txn);
    }
}

/// A comparison of all keys at once.
fn of_range(rng: &mut Rng, newest: i64, all: &KeyRange) -> Compare {
    let revision = rng.range(0..=newest.max(1) as u64) as i64;
    let target = match rng.range(0..=4) {
        0 => CompareTarget::Version(rng.range(0..=5) as i64),
        1 => CompareTarget::Create(revision),
        2 => CompareTarget::Mod(revision),
        3 => CompareTarget::Lease(LeaseId::NONE),
        _ => CompareTarget::Value("c".into()),
    };
    let ops = [
        CompareOp::Equal,
        CompareOp::NotEqual,
        CompareOp::Greater,
        CompareOp::Less,
    ];
    Compare {
        range: all.clone(),
        op: *rng.pick(&ops),
        target,
    }
}

/// Asks within whether a key is there that the transaction puts: what it wrote itself it does not
/// see.
fn compare_with_the_past(txn: &mut TxnRequest) {
    let put = txn.success.iter().find_map(|op| match op {
        Op::Put(put) => Some(put.key.clone()),
        _ => None,
    });
    let Some(key) = put else { return };
    let range = KeyRange::One(key);
    let read = || vec![Op::Range(RangeRequest::of(range.clone()))];
    let comparison = TxnRequest {
        compare: vec![Compare {
            range: range.clone(),
            op: CompareOp::Equal,
            target: CompareTarget::Version(0),
        }],
        success: read(),
        failure: Vec::new(),
    };
    txn.success.push(Op::Txn(comparison));
}
