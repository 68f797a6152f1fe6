//! What a request must be before it is proposed or read: the one validation, for every protocol.
//! What depends on the state is checked when the request is applied.

use crate::api::{
    Compare, DeleteRangeRequest, KeyRange, LeaseId, Op, PutRequest, RangeRequest, TxnRequest,
};
use crate::error::Error;
use crate::limits::{LEASE_TTL_MAX, REQUEST_BYTES_MAX, TXN_DEPTH_MAX, TXN_OPS_MAX, V2_DEPTH_MAX};
use crate::v2;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use bytes::Bytes;

/// The limits that an operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `--max-request-bytes`
    pub request_bytes_max: usize,
    /// `--max-txn-ops`
    pub txn_ops_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            request_bytes_max: REQUEST_BYTES_MAX,
            txn_ops_max: TXN_OPS_MAX,
        }
    }
}

pub fn range(request: &RangeRequest) -> Result<(), Error> {
    key_range(&request.range)
}

pub fn put(request: &PutRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if request.ignore_lease && request.lease != LeaseId::NONE {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

pub fn delete_range(request: &DeleteRangeRequest) -> Result<(), Error> {
    key_range(&request.range)
}

/// A transaction, with all that is nested in it.
pub fn txn(request: &TxnRequest, limits: &Limits) -> Result<(), Error> {
    txn_shape(request, limits.txn_ops_max, 1)?;
    overlaps(&request.success)?;
    overlaps(&request.failure)?;
    Ok(())
}

/// A path of v2.
pub fn v2_path(path: &[u8]) -> Result<(), Error> {
    if !v2::is_clean(path) {
        return Err(Error::Malformed("path"));
    }
    let components = path.iter().filter(|byte| **byte == b'/').count();
    match components > V2_DEPTH_MAX {
        true => Err(Error::Malformed("the path has too many components")),
        false => Ok(()),
    }
}

/// A lease's time-to-live, raised to `ttl_min` as etcd does (a lease must outlive an election).
pub fn lease_ttl(ttl: i64, ttl_min: i64) -> Result<i64, Error> {
    if ttl > LEASE_TTL_MAX {
        Err(Error::LeaseTtlTooLarge)
    } else {
        Ok(ttl.max(ttl_min))
    }
}

/// An encoded command must fit the log as a request must fit the wire.
pub fn command_size(command: &Bytes, limits: &Limits) -> Result<(), Error> {
    if command.len() > limits.request_bytes_max {
        return Err(Error::RequestTooLarge);
    }
    Ok(())
}

fn key_range(range: &KeyRange) -> Result<(), Error> {
    match range {
        KeyRange::One(key) | KeyRange::Span { start: key, .. } if key.is_empty() => {
            Err(Error::EmptyKey)
        }
        _ => Ok(()),
    }
}

// The longest list of a transaction counts, and a nested transaction may only have what its outer
// ones left: etcd's rule, which also bounds the depth by the number of operations.
fn txn_shape(txn: &TxnRequest, ops_max: usize, depth: usize) -> Result<(), Error> {
    let ops = txn
        .compare
        .len()
        .max(txn.success.len())
        .max(txn.failure.len());
    if ops > ops_max || depth > TXN_DEPTH_MAX {
        return Err(Error::TooManyOps);
    }
    for Compare { range, .. } in &txn.compare {
        key_range(range)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            Op::Range(request) => range(request)?,
            Op::Put(request) => put(request)?,
            Op::DeleteRange(request) => delete_range(request)?,
            Op::Txn(nested) => txn_shape(nested, ops_max - ops, depth + 1)?,
        }
    }
    Ok(())
}

/// The keys that a list of operations writes, whichever branches its nested transactions take.
#[derive(Default)]
struct Footprint<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Vec<&'a KeyRange>,
}

impl<'a> Footprint<'a> {
    fn put(&mut self, key: &'a [u8]) -> Result<(), Error> {
        let deleted = self.deletes.iter().any(|range| guards(range, key));
        if deleted || !self.puts.insert(key) {
            Err(Error::DuplicateKey)
        } else {
            Ok(())
        }
    }
}

/// Finds keys that would be written twice.
///
/// The order of the checks is etcd's, and so are its gaps: what a nested transaction puts may be
/// deleted by a later nested one of the same list, and see [`guards`].
fn overlaps(ops: &[Op]) -> Result<Footprint<'_>, Error> {
    let mut all = Footprint::default();
    for op in ops {
        if let Op::DeleteRange(delete) = op {
            all.deletes.push(&delete.range);
        }
    }
    for op in ops {
        let Op::Txn(nested) = op else { continue };
        let success = overlaps(&nested.success)?;
        let failure = overlaps(&nested.failure)?;
        for key in &success.puts {
            all.put(key)?;
        }
        // Only one of the branches runs: what both put is put once.
        for key in failure.puts.difference(&success.puts) {
            all.put(key)?;
        }
        all.deletes.extend(success.deletes);
        all.deletes.extend(failure.deletes);
    }
    for op in ops {
        if let Op::Put(put) = op {
            all.put(&put.key)?;
        }
    }
    Ok(all)
}

/// Whether a put of `key` beside a delete of `range` counts as an overlap. Measured: etcd takes
/// the end `\0` of "every key from here on" for a key, so such a delete overlaps nothing.
fn guards(range: &KeyRange, key: &[u8]) -> bool {
    !matches!(range, KeyRange::Span { end: None, .. }) && range.contains(key)
}
