//! Reads, as pure functions of a view and a request: they run on any thread, beside apply.

use crate::api::{LeaseId, Member, MemberId, RangeReply, RangeRequest, TxnReply, TxnRequest};
use crate::codec::{
    META_MVCC, REMOVED_END, REMOVED_PREFIX, decode_lease, decode_lease_key, decode_member,
    decode_member_log, decode_meta, decode_removed_key, decode_revision, lease_key, member_log_key,
};
use crate::error::Error;
use crate::event::{CaughtUp, CompactedAt};
use crate::kv::{history, range as ranges, txn as txns, write};
use crate::limits::RANGE_CHUNK_BYTES;
use crate::view::{Direction, Fault, Table, View};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::ops::Bound;

pub use crate::alarm::raised as alarms;
pub use crate::hash::{HashKv, hash_kv};
pub use crate::kv::range::ChunkCursor;

/// Rows that may be read on a thread that serves others.
const SHORT_SCAN_MAX: usize = 16;

/// Where a view stands. A view and its `At` belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    pub revision: i64,
    /// -1 if nothing was ever compacted.
    pub compact_revision: i64,
}

impl At {
    /// An empty store.
    pub const EMPTY: At = At {
        revision: 1,
        compact_revision: -1,
    };

    /// Reads where `view` stands from the view itself.
    pub fn load(view: &dyn View) -> Result<At, Fault> {
        let Some(row) = view.get(Table::Meta, META_MVCC)? else {
            return Ok(At::EMPTY);
        };
        let mut meta = decode_meta(&row)?;
        if crate::mutant!(CompactionCrash) {
            let all = (Bound::Unbounded, Bound::Unbounded);
            let last = view.scan(Table::Events, all, Direction::Reverse).next();
            let last = last.transpose()?.map(|(key, _)| decode_revision(&key));
            meta.revision = last.transpose()?.map_or(1, |revision| revision.main);
        }
        Ok(At {
            revision: meta.revision,
            compact_revision: meta.compact_revision,
        })
    }
}

/// Why a read failed: the request asked for what cannot be had, or the stored bytes are broken and
/// the member must halt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryError {
    Request(Error),
    Fault(Fault),
}

impl From<Error> for QueryError {
    fn from(error: Error) -> QueryError {
        QueryError::Request(error)
    }
}

impl From<Fault> for QueryError {
    fn from(fault: Fault) -> QueryError {
        QueryError::Fault(fault)
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryError::Request(error) => error.fmt(f),
            QueryError::Fault(fault) => fault.fmt(f),
        }
    }
}

impl core::error::Error for QueryError {}

/// Answers a range request. The header's revision is `at.revision`.
pub fn range(view: &dyn View, at: At, request: &RangeRequest) -> Result<RangeReply, QueryError> {
    ranges::range(view, at, request)
}

/// Whether a range request costs about what a read of one key does.
pub fn is_short(view: &dyn View, at: At, request: &RangeRequest) -> bool {
    ranges::is_short(view, at, request)
}

/// Whether a transaction that only reads costs hardly more than a few reads of one key.
pub fn is_short_txn(view: &dyn View, at: At, txn: &TxnRequest) -> bool {
    txns::is_short(view, at, txn)
}

/// Answers one chunk of a streamed range, see [`ranges::range_chunk`].
pub fn range_chunk(
    view: &dyn View,
    at: At,
    request: &RangeRequest,
    from: Option<ChunkCursor>,
) -> Result<(RangeReply, Option<ChunkCursor>), QueryError> {
    ranges::range_chunk(view, at, request, from, RANGE_CHUNK_BYTES)
}

/// Answers a transaction that only reads.
pub fn txn(view: &dyn View, at: At, txn: &TxnRequest) -> Result<TxnReply, QueryError> {
    txns::read(view, at, txn)
}

/// Reads changes for watchers that lag, see [`history::changes`].
pub fn changes(
    view: &dyn View,
    at: At,
    from: i64,
    to: i64,
) -> Result<Result<CaughtUp, CompactedAt>, Fault> {
    history::changes(view, at, from, to)
}

/// The leases and the time-to-live that each was granted, by id.
pub fn leases(view: &dyn View) -> Result<Vec<(LeaseId, i64)>, Fault> {
    lease_rows(view).collect()
}

/// Whether there are so few leases that reading them all keeps nobody waiting.
pub fn are_leases_few(view: &dyn View) -> bool {
    lease_rows(view).take(SHORT_SCAN_MAX + 1).count() <= SHORT_SCAN_MAX
}

fn lease_rows(view: &dyn View) -> impl Iterator<Item = Result<(LeaseId, i64), Fault>> + '_ {
    view.scan(
        Table::Lease,
        (Bound::Unbounded, Bound::Unbounded),
        Direction::Forward,
    )
    .map(|row| {
        let (key, row) = row?;
        Ok((decode_lease_key(&key)?, decode_lease(&row)?))
    })
    .filter(|lease| !(crate::mutant!(LeaseIdEdge) && matches!(lease, Ok((LeaseId(..0), _)))))
}

/// The time-to-live that a lease was granted, if it exists.
pub fn lease_ttl(view: &dyn View, lease: LeaseId) -> Result<Option<i64>, Fault> {
    view.get(Table::Lease, &lease_key(lease))?
        .as_ref()
        .map(decode_lease)
        .transpose()
}

/// The keys that a lease holds, in order; none if there is no such lease.
pub fn lease_keys(view: &dyn View, lease: LeaseId) -> Result<Vec<Bytes>, Fault> {
    write::lease_keys(view, lease)
}

/// Whether a lease holds so few keys that reading them all keeps nobody waiting.
pub fn are_lease_keys_few(view: &dyn View, lease: LeaseId) -> bool {
    let rows = write::lease_key_rows(view, lease);
    rows.take(SHORT_SCAN_MAX + 1).count() <= SHORT_SCAN_MAX
}

/// The members that were ever removed.
pub fn removed(view: &dyn View) -> Result<BTreeSet<MemberId>, Fault> {
    view.scan(
        Table::Meta,
        (
            Bound::Included(REMOVED_PREFIX),
            Bound::Excluded(REMOVED_END),
        ),
        Direction::Forward,
    )
    .map(|row| decode_removed_key(&row?.0))
    .collect()
}

/// The number of a member's raft log, once the member has published it.
pub fn member_log(view: &dyn View, id: MemberId) -> Result<Option<u64>, Fault> {
    view.get(Table::Meta, &member_log_key(id))?
        .as_ref()
        .map(decode_member_log)
        .transpose()
}

/// The members, by id.
pub fn members(view: &dyn View) -> Result<Vec<Member>, Fault> {
    view.scan(
        Table::Member,
        (Bound::Unbounded, Bound::Unbounded),
        Direction::Forward,
    )
    .map(|row| {
        let (key, row) = row?;
        decode_member(&key, &row)
    })
    .collect()
}
