//! Transactions: which branches run, what forbids them, and running them.
//!
//! All comparisons, those of nested transactions too, see the state before the outermost
//! transaction; so the way through the branches is known, and everything that can fail is checked,
//! before the first write. Running a transaction cannot fail.

use super::live::live_rows;
use super::range::{self, latest, range};
use super::write::Writer;
use crate::api::{
    Compare, CompareOp, CompareTarget, KeyRange, KeyValue, LeaseId, Op, OpReply, PutRequest,
    RangeRequest, TxnReply, TxnRequest,
};
use crate::codec::{decode_current, lease_key};
use crate::error::Error;
use crate::query::{At, QueryError};
use crate::view::{Direction, Fault, Table, View};
use alloc::vec::Vec;
use core::cmp::Ordering;

/// Reads of a transaction that may run on a thread that serves others.
const SHORT_READS_MAX: usize = 8;

/// Runs a transaction that only reads.
pub fn read(view: &dyn View, at: At, txn: &TxnRequest) -> Result<TxnReply, QueryError> {
    assert!(
        txn.is_read_only(),
        "a transaction that writes goes through the log"
    );
    let branches = Branches::choose(view, txn)?;
    check_ranges(at, txn, &mut branches.choices())?;
    Ok(run(&mut Reader { view, at }, txn, &mut branches.choices())?)
}

/// Whether a transaction that only reads costs hardly more than a few reads of one key.
pub fn is_short(view: &dyn View, at: At, txn: &TxnRequest) -> bool {
    reads(view, at, txn).is_some_and(|reads| reads <= SHORT_READS_MAX)
}

/// How many short reads a transaction is made of, whatever branch it takes; `None` if some are long.
fn reads(view: &dyn View, at: At, txn: &TxnRequest) -> Option<usize> {
    let is_one = |compare: &Compare| matches!(compare.range, KeyRange::One(_));
    let mut count = txn.compare.len();
    if !txn.compare.iter().all(is_one) {
        return None;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        count += match op {
            Op::Range(request) => range::is_short(view, at, request).then_some(1)?,
            Op::Txn(txn) => reads(view, at, txn)?,
            Op::Put(_) | Op::DeleteRange(_) => return None,
        };
    }
    Some(count)
}

/// Runs a transaction that was committed: either all of it, or nothing and an error.
pub fn apply(writer: &mut Writer<'_, '_>, txn: &TxnRequest) -> Result<TxnReply, QueryError> {
    let branches = Branches::choose(writer.view(), txn)?;
    check_puts(writer.view(), txn, &mut branches.choices())?;
    check_ranges(writer.at(), txn, &mut branches.choices())?;
    Ok(run(writer, txn, &mut branches.choices())?)
}

/// Whether a put within a transaction may run.
///
/// A put outside asks for its lease first and for its key second: etcd reports them in this order
/// there and in the other one here.
fn check_put(view: &dyn View, put: &PutRequest) -> Result<(), QueryError> {
    if (put.ignore_value || put.ignore_lease) && view.get(Table::Current, &put.key)?.is_none() {
        return Err(Error::KeyNotFound.into());
    }
    check_lease(view, put.lease)
}

/// Whether keys may be attached to `lease`.
pub fn check_lease(view: &dyn View, lease: LeaseId) -> Result<(), QueryError> {
    if lease != LeaseId::NONE && view.get(Table::Lease, &lease_key(lease))?.is_none() {
        return Err(Error::LeaseNotFound.into());
    }
    Ok(())
}

/// The branches that a transaction and those nested in it take, in the order in which they are
/// met.
struct Branches(Vec<bool>);

type Choices<'a> = core::iter::Copied<core::slice::Iter<'a, bool>>;

impl Branches {
    fn choose(view: &dyn View, txn: &TxnRequest) -> Result<Branches, Fault> {
        let mut branches = Branches(Vec::with_capacity(1));
        branches.extend(view, txn)?;
        Ok(branches)
    }

    fn extend(&mut self, view: &dyn View, txn: &TxnRequest) -> Result<(), Fault> {
        let mut succeeded = true;
        for compare in &txn.compare {
            succeeded = succeeded && holds(view, compare)?;
        }
        self.0.push(succeeded);
        for op in branch(txn, succeeded) {
            if let Op::Txn(nested) = op {
                self.extend(view, nested)?;
            }
        }
        Ok(())
    }

    fn choices(&self) -> Choices<'_> {
        self.0.iter().copied()
    }
}

fn branch(txn: &TxnRequest, succeeded: bool) -> &[Op] {
    if succeeded {
        &txn.success
    } else {
        &txn.failure
    }
}

fn take(choices: &mut Choices<'_>) -> bool {
    choices
        .next()
        .expect("there is a choice for each transaction that runs")
}

/// Whether a comparison holds for every key of its range, and for a key that does not exist if
/// there is none.
fn holds(view: &dyn View, compare: &Compare) -> Result<bool, Fault> {
    let missing = || {
        !matches!(compare.target, CompareTarget::Value(_)) && matches(compare, &KeyValue::default())
    };
    let (start, end) = match &compare.range {
        KeyRange::One(key) => {
            let found = latest(view, key)?;
            return Ok(found.map_or_else(missing, |version| matches(compare, &version.kv)));
        }
        KeyRange::Span { start, end } => (start, end.as_deref()),
    };
    let mut any = false;
    for row in live_rows(view, (start, end), u64::MAX, Direction::Forward)? {
        let (key, row) = row?;
        any = true;
        if !matches(compare, &decode_current(key, &row)?.kv) {
            return Ok(false);
        }
    }
    Ok(any || missing())
}

fn matches(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match &compare.target {
        CompareTarget::Version(version) => kv.version.cmp(version),
        CompareTarget::Create(revision) => kv.create_revision.cmp(revision),
        CompareTarget::Mod(revision) => kv.mod_revision.cmp(revision),
        CompareTarget::Value(value) => kv.value.cmp(value),
        CompareTarget::Lease(lease) => kv.lease.cmp(lease),
    };
    match compare.op {
        CompareOp::Equal => order == Ordering::Equal,
        CompareOp::NotEqual => order != Ordering::Equal,
        CompareOp::Greater => order == Ordering::Greater,
        CompareOp::Less => order == Ordering::Less,
    }
}

fn check_puts(
    view: &dyn View,
    txn: &TxnRequest,
    choices: &mut Choices<'_>,
) -> Result<(), QueryError> {
    for op in branch(txn, take(choices)) {
        match op {
            Op::Put(put) => check_put(view, put)?,
            Op::Txn(nested) => check_puts(view, nested, choices)?,
            Op::Range(_) | Op::DeleteRange(_) => {}
        }
    }
    Ok(())
}

// Reads are checked against the state before the transaction: its own revision is the future. A
// negative revision is compacted here although it means the latest elsewhere, as in etcd.
fn check_ranges(at: At, txn: &TxnRequest, choices: &mut Choices<'_>) -> Result<(), Error> {
    for op in branch(txn, take(choices)) {
        match op {
            Op::Range(RangeRequest { revision: 0, .. }) => {}
            Op::Range(range) if range.revision > at.revision => return Err(Error::FutureRevision),
            Op::Range(range) if range.revision < at.compact_revision => {
                return Err(Error::Compacted);
            }
            Op::Range(_) | Op::Put(_) | Op::DeleteRange(_) => {}
            Op::Txn(nested) => check_ranges(at, nested, choices)?,
        }
    }
    Ok(())
}

/// Who runs the operations of a transaction.
trait Runner {
    /// Runs an operation that is no transaction.
    fn run(&mut self, op: &Op) -> Result<OpReply, Fault>;
    /// The revision that the operation before this call saw or made.
    fn revision(&self) -> i64;
}

struct Reader<'a> {
    view: &'a dyn View,
    at: At,
}

impl Runner for Reader<'_> {
    fn run(&mut self, op: &Op) -> Result<OpReply, Fault> {
        match op {
            Op::Range(request) => run_range(self.view, self.at, request),
            _ => unreachable!("read() was given a transaction that only reads"),
        }
    }

    fn revision(&self) -> i64 {
        self.at.revision
    }
}

impl Runner for Writer<'_, '_> {
    fn run(&mut self, op: &Op) -> Result<OpReply, Fault> {
        Ok(match op {
            Op::Range(request) => run_range(self.view(), self.at(), request)?,
            Op::Put(request) => OpReply::Put(self.put(request)?),
            Op::DeleteRange(request) => OpReply::DeleteRange(self.delete_range(request)?),
            Op::Txn(_) => unreachable!("run() descends into nested transactions"),
        })
    }

    fn revision(&self) -> i64 {
        self.at().revision
    }
}

fn run_range(view: &dyn View, at: At, request: &RangeRequest) -> Result<OpReply, Fault> {
    match range(view, at, request) {
        Ok(reply) => Ok(OpReply::Range(reply)),
        Err(QueryError::Fault(fault)) => Err(fault),
        Err(QueryError::Request(error)) => unreachable!("check_ranges() let {error} pass"),
    }
}

fn run(
    runner: &mut impl Runner,
    txn: &TxnRequest,
    choices: &mut Choices<'_>,
) -> Result<TxnReply, Fault> {
    let succeeded = take(choices);
    let ops = branch(txn, succeeded);
    let mut reply = TxnReply {
        succeeded,
        responses: Vec::with_capacity(ops.len()),
        revisions: Vec::with_capacity(ops.len()),
    };
    for op in ops {
        let (response, revision) = match op {
            // etcd leaves the header of a nested transaction empty.
            Op::Txn(nested) => (OpReply::Txn(run(runner, nested, choices)?), 0),
            op => (runner.run(op)?, runner.revision()),
        };
        reply.responses.push(response);
        reply.revisions.push(revision);
    }
    Ok(reply)
}
