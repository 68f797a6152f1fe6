//! Reads of keys, at the latest revision and at any that is not compacted.

use super::history::{Candidate, live_at, one_at};
use crate::api::{KeyRange, KeyValue, RangeReply, RangeRequest, SortOrder, SortTarget};
use crate::codec::{Version, decode_current};
use crate::error::Error;
use crate::query::{At, QueryError};
use crate::view::{Direction, Fault, KeyBounds, Table, View};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use core::cmp::Ordering;
use core::ops::Bound;

/// Fewer keys than this are sorted only once.
const SORTED_MIN: usize = 1024;

/// Answers a range request as of `at`.
pub fn range(view: &dyn View, at: At, request: &RangeRequest) -> Result<RangeReply, QueryError> {
    let revision = effective_revision(at, request.revision)?;
    let plan = Plan::new(request);
    let found = candidates(view, at, &request.range, revision, plan.direction)?;
    let mut reply = RangeReply::default();
    let mut matching = 0;
    for candidate in found {
        let candidate = candidate?;
        reply.count += 1;
        // What is beyond the limit only counts: it is neither decoded nor fetched.
        if request.count_only || reply.kvs.len() >= plan.take {
            continue;
        }
        let kv = candidate.load(view)?;
        if within_filters(request, &kv) {
            reply.kvs.push(plan.strip(kv));
            matching += 1;
        }
        // What cannot be among the first any more is let go, so that memory is bounded by the
        // limit and not by the range. The sort is stable: of equals those that came first stay.
        if plan.sorts && request.limit > 0 && reply.kvs.len() >= plan.keep_max {
            reply.kvs.sort_by(|a, b| compare(request, a, b));
            reply.kvs.truncate(plan.keep_max / 2);
        }
    }
    if plan.sorts {
        reply.kvs.sort_by(|a, b| compare(request, a, b));
    }
    if request.limit > 0 && matching > request.limit as u64 {
        reply.kvs.truncate(request.limit as usize);
        reply.more = true;
    }
    if request.keys_only {
        reply.kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    Ok(reply)
}

/// The latest version of `key`, if it is live.
pub fn latest(view: &dyn View, key: &Bytes) -> Result<Option<Version>, Fault> {
    match view.get(Table::Current, key)? {
        Some(row) => decode_current(key.clone(), &row).map(Some),
        None => Ok(None),
    }
}

/// The bounds of a range in tables whose keys are plain keys.
pub fn bounds(range: &KeyRange) -> KeyBounds<'_> {
    match range {
        KeyRange::One(key) => (Bound::Included(key), Bound::Included(key)),
        KeyRange::Span {
            start,
            end: Some(end),
        } => (Bound::Included(start), Bound::Excluded(end)),
        KeyRange::Span { start, end: None } => (Bound::Included(start), Bound::Unbounded),
    }
}

/// Where the next chunk of a streamed range begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkCursor {
    /// The last key that was sent.
    after: Bytes,
    sent: i64,
    count: i64,
}

/// One chunk of a streamed range, of about `bytes_max`, and where the next begins; the last chunk
/// has none, and it alone carries `more` and `count`. All chunks must be asked of one view with
/// one `at`.
pub fn range_chunk(
    view: &dyn View,
    at: At,
    request: &RangeRequest,
    from: Option<ChunkCursor>,
    bytes_max: usize,
) -> Result<(RangeReply, Option<ChunkCursor>), QueryError> {
    if request.sort_order != SortOrder::None || request.sort_target != SortTarget::Key {
        return Err(Error::RangeStreamSort.into());
    }
    if has_filters(request) {
        return Err(Error::RangeStreamRevisionFilter.into());
    }
    let revision = effective_revision(at, request.revision)?;
    let (mut sent, mut count) = from.as_ref().map_or((0, 0), |from| (from.sent, from.count));
    let rest = match from {
        Some(cursor) => rest_after(&request.range, cursor.after),
        None => request.range.clone(),
    };
    let mut reply = RangeReply::default();
    let mut bytes = 0;
    for candidate in candidates(view, at, &rest, revision, Direction::Forward)? {
        let candidate = candidate?;
        let beyond = request.limit > 0 && sent >= request.limit;
        if !beyond && !reply.kvs.is_empty() && bytes >= bytes_max {
            let after = reply
                .kvs
                .last()
                .map(|kv| kv.key.clone())
                .unwrap_or_default();
            return Ok((reply, Some(ChunkCursor { after, sent, count })));
        }
        count += 1;
        if request.count_only || beyond {
            continue;
        }
        let mut kv = candidate.load(view)?;
        if request.keys_only {
            kv.value = Bytes::new();
        }
        bytes += kv.key.len() + kv.value.len() + 32;
        sent += 1;
        reply.kvs.push(kv);
    }
    reply.count = count;
    reply.more = !request.count_only && count > sent;
    Ok((reply, None))
}

/// What of `range` lies after `key`.
fn rest_after(range: &KeyRange, key: Bytes) -> KeyRange {
    let mut start = Vec::with_capacity(key.len() + 1);
    start.extend_from_slice(&key);
    start.push(0);
    let end = match range {
        KeyRange::Span { end, .. } => end.clone(),
        // The one key was sent: nothing lies between it and the next possible key.
        KeyRange::One(_) => Some(Bytes::from(start.clone())),
    };
    KeyRange::Span {
        start: Bytes::from(start),
        end,
    }
}

/// The revision that a request reads at. Anything below one means the latest, as in etcd.
fn effective_revision(at: At, asked: i64) -> Result<i64, Error> {
    if asked > at.revision {
        Err(Error::FutureRevision)
    } else if asked <= 0 {
        Ok(at.revision)
    } else if asked < at.compact_revision {
        Err(Error::Compacted)
    } else {
        Ok(asked)
    }
}

type Candidates<'a> = Box<dyn Iterator<Item = Result<Candidate, Fault>> + 'a>;

fn candidates<'a>(
    view: &'a dyn View,
    at: At,
    range: &KeyRange,
    revision: i64,
    direction: Direction,
) -> Result<Candidates<'a>, Fault> {
    let is_past = revision < at.revision;
    Ok(match range {
        KeyRange::One(key) if is_past => Box::new(one_at(view, key, revision)?.map(Ok).into_iter()),
        KeyRange::One(key) => {
            let row = view.get(Table::Current, key)?;
            let latest = row.map(|row| Candidate::Latest((key.clone(), row)));
            Box::new(latest.map(Ok).into_iter())
        }
        KeyRange::Span { start, end } if is_past => {
            let end = end.as_ref().map(|end| &end[..]);
            Box::new(live_at(view, start, end, revision, direction))
        }
        span => {
            let rows = view.scan(Table::Current, bounds(span), direction);
            Box::new(rows.map(|row| row.map(Candidate::Latest)))
        }
    })
}

/// How a request is read.
struct Plan {
    direction: Direction,
    /// How many keys are loaded at most. One more than the limit, to know whether there is more.
    take: usize,
    sorts: bool,
    /// While sorting with a limit: when the half that is known to come last is let go.
    keep_max: usize,
    /// Values are not wanted, not even to sort by them.
    drops_values: bool,
}

impl Plan {
    fn new(request: &RangeRequest) -> Plan {
        let by_key = request.sort_target == SortTarget::Key;
        let descends = request.sort_order == SortOrder::Descend;
        // Without an order etcd applies the limit before it sorts, so that the sort is only one
        // of the first keys; a filter makes it look at all.
        let sorts_all = !by_key && (request.sort_order != SortOrder::None || has_filters(request));
        Plan {
            direction: if by_key && descends {
                Direction::Reverse
            } else {
                Direction::Forward
            },
            take: match request.limit {
                limit if limit > 0 && !sorts_all => (limit as usize).saturating_add(1),
                _ => usize::MAX,
            },
            sorts: !by_key,
            keep_max: (request.limit.max(0) as usize)
                .saturating_mul(2)
                .max(SORTED_MIN),
            drops_values: request.keys_only && request.sort_target != SortTarget::Value,
        }
    }

    fn strip(&self, mut kv: KeyValue) -> KeyValue {
        if self.drops_values {
            kv.value = Bytes::new();
        }
        kv
    }
}

fn has_filters(request: &RangeRequest) -> bool {
    request.min_mod_revision != 0
        || request.max_mod_revision != 0
        || request.min_create_revision != 0
        || request.max_create_revision != 0
}

fn within_filters(request: &RangeRequest, kv: &KeyValue) -> bool {
    let within = |n: i64, min: i64, max: i64| (min == 0 || n >= min) && (max == 0 || n <= max);
    within(
        kv.mod_revision,
        request.min_mod_revision,
        request.max_mod_revision,
    ) && within(
        kv.create_revision,
        request.min_create_revision,
        request.max_create_revision,
    )
}

fn compare(request: &RangeRequest, a: &KeyValue, b: &KeyValue) -> Ordering {
    let order = match request.sort_target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    };
    if request.sort_order == SortOrder::Descend {
        order.reverse()
    } else {
        order
    }
}
