//! Reads of keys, at the latest revision and at any that is not compacted.

use super::live::{self, Candidate, Candidates, live_rows};
use crate::api::{KeyRange, KeyValue, RangeReply, RangeRequest, SortOrder, SortTarget};
use crate::codec::{Version, decode_current};
use crate::error::Error;
use crate::query::{At, QueryError};
use crate::view::{Direction, Fault, Table, View};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use core::cmp::Ordering;

/// Fewer keys than this are sorted only once.
const SORTED_MIN: usize = 1024;
/// A read of so many keys takes about as long as a read of one.
const SHORT_READS_MAX: usize = 2;

const _: () = assert!(SHORT_READS_MAX <= live::SINGLE_READS_MAX);

/// Answers a range request as of `at`.
pub fn range(view: &dyn View, at: At, request: &RangeRequest) -> Result<RangeReply, QueryError> {
    let revision = effective_revision(at, request.revision)?;
    let plan = Plan::new(request);
    let counted = match plan.take {
        Take::All => None,
        _ => count(view, at, &request.range, revision)?,
    };
    let mut reply = RangeReply::default();
    if let (Take::None, Some(count)) = (plan.take, counted) {
        reply.count = count;
        return Ok(reply);
    }
    // What is not counted otherwise is counted here.
    let wanted = match counted {
        Some(_) => plan.wanted(),
        None => usize::MAX,
    };
    for candidate in candidates(view, at, &request.range, revision, wanted, plan.direction)? {
        let candidate = candidate?;
        reply.count += 1;
        // What is beyond the limit only counts: it is neither decoded nor fetched.
        if plan.has_all(&reply) {
            continue;
        }
        let kv = candidate.load(view)?;
        if within_filters(request, &kv) {
            reply.kvs.push(plan.strip(kv));
        }
        if counted.is_some() && plan.has_all(&reply) {
            break;
        }
        // What cannot be among the first any more is let go, so that memory is bounded by the
        // limit and not by the range. The sort is stable: of equals those that came first stay.
        if plan.sorts && request.limit > 0 && reply.kvs.len() >= plan.keep_max {
            reply.kvs.sort_by(|a, b| compare(request, a, b));
            reply.kvs.truncate(plan.keep_max / 2);
            reply.more = true;
        }
    }
    if plan.sorts {
        reply.kvs.sort_by(|a, b| compare(request, a, b));
    }
    if request.limit > 0 && reply.kvs.len() as u64 > request.limit as u64 {
        reply.kvs.truncate(request.limit as usize);
        reply.more = true;
    }
    if request.keys_only {
        reply.kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    reply.count = counted.unwrap_or(reply.count);
    Ok(reply)
}

/// Whether the answer is a count that the index tells, or hardly more rows than one.
pub fn is_short(view: &dyn View, at: At, request: &RangeRequest) -> bool {
    if matches!(request.range, KeyRange::One(_)) {
        return true;
    }
    let plan = Plan::new(request);
    let is_latest = request.revision <= 0 || request.revision == at.revision;
    let is_little = match plan.take {
        Take::None => true,
        Take::AtMost(keys) => keys <= SHORT_READS_MAX && !plan.filters,
        Take::All => false,
    };
    is_latest && is_little && view.keys().is_some()
}

/// The latest version of `key`, if it is live.
pub fn latest(view: &dyn View, key: &Bytes) -> Result<Option<Version>, Fault> {
    match view.get(Table::Current, key)? {
        Some(row) => decode_current(key.clone(), &row).map(Some),
        None => Ok(None),
    }
}

/// Where the next chunk of a streamed range begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkCursor {
    /// The last key that was sent.
    after: Bytes,
    sent: i64,
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
    let mut sent = from.as_ref().map_or(0, |from| from.sent);
    let rest = match from {
        Some(cursor) => rest_after(&request.range, cursor.after),
        None => request.range.clone(),
    };
    let is_beyond = |sent| request.count_only || request.limit > 0 && sent >= request.limit;
    let mut plan = Plan::new(request);
    if let Take::AtMost(keys) = &mut plan.take {
        *keys = keys.saturating_sub(sent as usize);
    }
    let mut reply = RangeReply::default();
    let mut bytes = 0;
    let (wanted, direction) = (plan.wanted(), plan.direction);
    let mut found = candidates(view, at, &rest, revision, wanted, direction)?;
    while !is_beyond(sent) {
        let Some(candidate) = found.next().transpose()? else {
            // All was sent, so it is counted.
            reply.count = sent;
            return Ok((reply, None));
        };
        if !reply.kvs.is_empty() && bytes >= bytes_max {
            let last = reply.kvs.last().map(|kv| kv.key.clone());
            let after = last.unwrap_or_default();
            return Ok((reply, Some(ChunkCursor { after, sent })));
        }
        let mut kv = candidate.load(view)?;
        if request.keys_only {
            kv.value = Bytes::new();
        }
        bytes += kv.key.len() + kv.value.len() + 32;
        sent += 1;
        reply.kvs.push(kv);
    }
    drop(found);
    reply.count = match count(view, at, &request.range, revision)? {
        Some(count) => count,
        None => {
            let mut all = candidates(view, at, &rest, revision, usize::MAX, direction)?;
            let before = sent - reply.kvs.len() as i64;
            all.try_fold(before, |count, candidate| candidate.map(|_| count + 1))?
        }
    };
    reply.more = !request.count_only && reply.count > sent;
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

/// How many keys of the range were live at `revision`, if that can be told without looking at all
/// of them.
fn count(view: &dyn View, at: At, range: &KeyRange, revision: i64) -> Result<Option<i64>, Fault> {
    let (Some(keys), KeyRange::Span { start, end }) = (view.keys(), range) else {
        return Ok(None);
    };
    let end = end.as_deref();
    let count = match revision == at.revision {
        true => {
            let ranks = keys.ranks(start, end, view)?;
            Some(ranks.end - ranks.start)
        }
        false => keys.count_at((start, end), revision, view)?,
    };
    Ok(count.map(|count| count as i64))
}

/// The keys that were live at `revision`, or as many of them as are wanted.
fn candidates<'a>(
    view: &'a dyn View,
    at: At,
    range: &KeyRange,
    revision: i64,
    wanted: usize,
    direction: Direction,
) -> Result<Candidates<'a>, Fault> {
    let is_past = revision < at.revision;
    match range {
        KeyRange::One(key) => live::one(view, key, is_past.then_some(revision)),
        KeyRange::Span { start, end } if is_past => {
            let range = (&start[..], end.as_deref());
            live::at(view, range, revision, wanted, direction)
        }
        KeyRange::Span { start, end } => {
            let range = (&start[..], end.as_deref());
            let rows = live_rows(view, range, wanted as u64, direction)?;
            Ok(Box::new(rows.map(|row| row.map(Candidate::Latest))))
        }
    }
}

/// How many keys a request takes before it knows its answer, but for their count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Take {
    /// Only the count is wanted.
    None,
    /// One more than the limit, to know whether there is more.
    AtMost(usize),
    All,
}

/// How a request is read.
struct Plan {
    direction: Direction,
    take: Take,
    /// Not every key that is looked at is taken.
    filters: bool,
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
        let filters = has_filters(request);
        // Without an order etcd applies the limit before it sorts, so that the sort is only one
        // of the first keys; a filter makes it look at all.
        let sorts_all = !by_key && (request.sort_order != SortOrder::None || filters);
        Plan {
            direction: if by_key && descends {
                Direction::Reverse
            } else {
                Direction::Forward
            },
            take: match request.limit {
                _ if request.count_only => Take::None,
                limit if limit > 0 && !sorts_all => {
                    Take::AtMost((limit as usize).saturating_add(1))
                }
                _ => Take::All,
            },
            filters,
            sorts: !by_key,
            keep_max: (request.limit.max(0) as usize)
                .saturating_mul(2)
                .max(SORTED_MIN),
            drops_values: request.keys_only && request.sort_target != SortTarget::Value,
        }
    }

    /// How many keys are looked at in their order before all is found.
    fn wanted(&self) -> usize {
        match self.take {
            Take::AtMost(keys) if !self.filters => keys,
            _ => usize::MAX,
        }
    }

    fn has_all(&self, reply: &RangeReply) -> bool {
        match self.take {
            Take::None => true,
            Take::AtMost(keys) => reply.kvs.len() >= keys,
            Take::All => false,
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
