//! The versions that keys had.

use super::range::latest;
use crate::api::{Change, ChangeKind, KeyRange, KeyValue, Revision};
use crate::codec::{
    EventRow, Version, decode_current, decode_event, decode_is_tombstone, decode_revision,
    revision_key, split_version_key, version_key, version_start,
};
use crate::event::{CaughtUp, CompactedAt};
use crate::limits::{CATCH_UP_BYTES_MAX, CATCH_UP_EVENTS_MAX};
use crate::query::At;
use crate::view::{Direction, Fault, Row, Rows, Table, View};
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;
use core::cmp::Ordering;
use core::iter::Peekable;
use core::ops::Bound;

/// A past version or a tombstone of a key, as `Versions` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub revision: Revision,
    pub is_tombstone: bool,
}

/// The newest past version or tombstone of `key` that is not after main revision `main`. The live
/// version is not looked at: ask only of a key that was changed after `main`.
pub fn past_at(view: &dyn View, key: &[u8], main: i64) -> Result<Option<Mark>, Fault> {
    past_until(
        view,
        key,
        Bound::Included(Revision {
            main,
            sub: i64::MAX,
        }),
    )
}

/// The newest version or tombstone of `key` before `revision`, at which it was changed.
pub fn past_before(view: &dyn View, key: &[u8], revision: Revision) -> Result<Option<Mark>, Fault> {
    past_until(view, key, Bound::Excluded(revision))
}

fn past_until(view: &dyn View, key: &[u8], until: Bound<Revision>) -> Result<Option<Mark>, Fault> {
    let start = version_start(key);
    let end = until.map(|revision| version_key(key, revision));
    let bounds = (
        Bound::Included(&start[..]),
        end.as_ref().map(|end| &end[..]),
    );
    let mut rows = view.scan(Table::Versions, bounds, Direction::Reverse);
    let Some((row_key, row)) = rows.next().transpose()? else {
        return Ok(None);
    };
    let (_, revision) = split_version_key(&row_key)?;
    Ok(Some(Mark {
        revision,
        is_tombstone: decode_is_tombstone(&row)?,
    }))
}

/// Whether the version of `key` that was put at `revision` was over at main revision `until`,
/// which is not before it.
pub fn is_superseded(
    view: &dyn View,
    key: &Bytes,
    revision: Revision,
    until: i64,
) -> Result<bool, Fault> {
    let start = version_key(key, revision);
    let end = version_key(
        key,
        Revision {
            main: until,
            sub: i64::MAX,
        },
    );
    let bounds = (Bound::Included(&start[..]), Bound::Included(&end[..]));
    let mut rows = view.scan(Table::Versions, bounds, Direction::Forward);
    // What is not listed is live.
    let listed = rows.next().transpose()?;
    if listed.is_none_or(|(row_key, _)| row_key != start) {
        return Ok(false);
    }
    if rows.next().transpose()?.is_some() {
        return Ok(true);
    }
    Ok(latest(view, key)?.is_some_and(|version| version.kv.mod_revision <= until))
}

/// The change made at `revision`, which must have been made.
pub fn event(view: &dyn View, revision: Revision) -> Result<EventRow, Fault> {
    let row = view
        .get(Table::Events, &revision_key(revision))?
        .ok_or_else(|| {
            let Revision { main, sub } = revision;
            Fault(format!(
                "a version of a key is listed at revision {main}.{sub}, but is not there"
            ))
        })?;
    decode_event(revision, &row)
}

/// The version made at `revision`, which must have been a put.
pub fn version(view: &dyn View, revision: Revision) -> Result<Version, Fault> {
    match event(view, revision)? {
        EventRow::Put(version) => Ok(version),
        EventRow::Tombstone { .. } => Err(Fault(format!(
            "a put is listed at revision {}.{}, but a delete is there",
            revision.main, revision.sub
        ))),
    }
}

/// A key that was live at some revision: loading what it was is left until it is known to be
/// wanted.
pub enum Candidate {
    Latest(Row),
    Past(Revision),
}

impl Candidate {
    pub fn load(self, view: &dyn View) -> Result<KeyValue, Fault> {
        match self {
            Candidate::Latest((key, row)) => Ok(decode_current(key, &row)?.kv),
            Candidate::Past(revision) => Ok(version(view, revision)?.kv),
        }
    }
}

/// The key, if it was live at `main`. However many versions it had, only one is looked for.
pub fn one_at(view: &dyn View, key: &Bytes, main: i64) -> Result<Option<Candidate>, Fault> {
    if let Some(row) = view.get(Table::Current, key)?
        && decode_current(key.clone(), &row)?.kv.mod_revision <= main
    {
        return Ok(Some(Candidate::Latest((key.clone(), row))));
    }
    let mark = past_at(view, key, main)?.filter(|mark| !mark.is_tombstone);
    Ok(mark.map(|mark| Candidate::Past(mark.revision)))
}

/// The keys from `start` up to and without `end` that were live at `main`, in their order or its
/// reverse.
pub fn live_at<'a>(
    view: &'a dyn View,
    start: &[u8],
    end: Option<&[u8]>,
    main: i64,
    direction: Direction,
) -> Live<'a> {
    let end = end.map_or(Bound::Unbounded, Bound::Excluded);
    let (past_start, past_end) = (version_start(start), end.map(version_start));
    let past_bounds = (
        Bound::Included(&past_start[..]),
        past_end.as_ref().map(|end| &end[..]),
    );
    let past = Past {
        rows: view.scan(Table::Versions, past_bounds, direction),
        main,
        direction,
        current: None,
    };
    let latest = view.scan(Table::Current, (Bound::Included(start), end), direction);
    Live {
        latest: latest.peekable(),
        past: past.peekable(),
        main,
        direction,
    }
}

/// Merges the latest versions, where they are old enough, with what the other keys were.
pub struct Live<'a> {
    latest: Peekable<Rows<'a>>,
    past: Peekable<Past<'a>>,
    main: i64,
    direction: Direction,
}

impl Live<'_> {
    fn step(&mut self) -> Result<Option<Candidate>, Fault> {
        loop {
            // Which of the two has the next key; `Equal` if both have it.
            let next = match (self.latest.peek(), self.past.peek()) {
                (None, None) => return Ok(None),
                (Some(Ok((key, _))), Some(Ok((escaped, _)))) => {
                    let order = version_start(key)[..].cmp(escaped);
                    match self.direction {
                        Direction::Forward => order,
                        Direction::Reverse => order.reverse(),
                    }
                }
                (Some(_), None) | (Some(Err(_)), _) => Ordering::Less,
                (None, Some(_)) | (_, Some(Err(_))) => Ordering::Greater,
            };
            let latest = match next {
                Ordering::Less | Ordering::Equal => self.latest.next().transpose()?,
                Ordering::Greater => None,
            };
            let past = match next {
                Ordering::Greater | Ordering::Equal => self.past.next().transpose()?,
                Ordering::Less => None,
            };
            if let Some((key, row)) = latest
                && decode_current(key.clone(), &row)?.kv.mod_revision <= self.main
            {
                return Ok(Some(Candidate::Latest((key, row))));
            }
            if let Some((_, mark)) = past
                && !mark.is_tombstone
            {
                return Ok(Some(Candidate::Past(mark.revision)));
            }
        }
    }
}

impl Iterator for Live<'_> {
    type Item = Result<Candidate, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// Walks `Versions` and picks of each key what was newest at `main`, with the escaped key.
struct Past<'a> {
    rows: Rows<'a>,
    main: i64,
    direction: Direction,
    /// The escaped key that the walk is at, and the best of what it saw of it.
    current: Option<(Bytes, Mark)>,
}

impl Past<'_> {
    fn step(&mut self) -> Result<Option<(Bytes, Mark)>, Fault> {
        while let Some((row_key, row)) = self.rows.next().transpose()? {
            let (escaped, revision) = split_version_key(&row_key)?;
            if revision.main > self.main {
                continue;
            }
            let mark = Mark {
                revision,
                is_tombstone: decode_is_tombstone(&row)?,
            };
            match &mut self.current {
                Some((key, newest)) if key == escaped => {
                    // Reverse walks meet the newest first.
                    if self.direction == Direction::Forward {
                        *newest = mark;
                    }
                }
                _ => {
                    let next = (row_key.slice(..escaped.len()), mark);
                    if let Some(done) = self.current.replace(next) {
                        return Ok(Some(done));
                    }
                }
            }
        }
        Ok(self.current.take())
    }
}

impl Iterator for Past<'_> {
    type Item = Result<(Bytes, Mark), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// By how many the live keys of `range` became more from the first revision to the second, which
/// is the latest. `None` if more than `rows_max` changes would have to be looked at.
pub fn live_change(
    view: &dyn View,
    range: &KeyRange,
    (from, to): (i64, i64),
    rows_max: usize,
) -> Result<Option<i64>, Fault> {
    if usize::try_from(to - from).map_or(true, |revisions| revisions > rows_max) {
        return Ok(None);
    }
    let start = revision_key(Revision {
        main: from,
        sub: i64::MAX,
    });
    let bounds = (Bound::Excluded(&start[..]), Bound::Unbounded);
    let mut change = 0;
    for (looked_at, row) in view
        .scan(Table::Events, bounds, Direction::Forward)
        .enumerate()
    {
        if looked_at == rows_max {
            return Ok(None);
        }
        let (row_key, row) = row?;
        let event = decode_event(decode_revision(&row_key)?, &row)?;
        if !range.contains(event.key()) {
            continue;
        }
        match event {
            EventRow::Put(version) => change += i64::from(version.kv.version == 1),
            EventRow::Tombstone { .. } => change -= 1,
        }
    }
    Ok(Some(change))
}

/// All changes with `from <= revision <= to`, in order, for watchers that lag.
///
/// Stops early, between two main revisions, once the limits on a catch-up read are reached
/// ([`CATCH_UP_EVENTS_MAX`], [`CATCH_UP_BYTES_MAX`]); only a revision that alone exceeds them is
/// read past them. `to` must not be after `at.revision`; `from` may be the compaction revision, as
/// in etcd.
pub fn changes(
    view: &dyn View,
    at: At,
    from: i64,
    to: i64,
) -> Result<Result<CaughtUp, CompactedAt>, Fault> {
    assert!(to <= at.revision, "changes of the future cannot be read");
    if from < at.compact_revision {
        return Ok(Err(CompactedAt(at.compact_revision)));
    }
    let start = revision_key(Revision {
        main: from.max(0),
        sub: 0,
    });
    let end = revision_key(Revision {
        main: to.max(0),
        sub: i64::MAX,
    });
    let bounds = (Bound::Included(&start[..]), Bound::Included(&end[..]));
    let mut found: Vec<Change> = Vec::new();
    let mut bytes = 0;
    for row in view.scan(Table::Events, bounds, Direction::Forward) {
        let (row_key, row) = row?;
        let revision = decode_revision(&row_key)?;
        let last = found
            .last()
            .map_or(revision.main, |change| change.kv.mod_revision);
        let full = found.len() >= CATCH_UP_EVENTS_MAX || bytes >= CATCH_UP_BYTES_MAX;
        if full && revision.main > last {
            return Ok(Ok(CaughtUp {
                through: last,
                changes: found,
            }));
        }
        let change = change(view, at, revision, decode_event(revision, &row)?)?;
        bytes += row.len() + change.prev_kv.as_ref().map_or(0, |prev| prev.value.len());
        found.push(change);
    }
    Ok(Ok(CaughtUp {
        through: to,
        changes: found,
    }))
}

fn change(view: &dyn View, at: At, revision: Revision, row: EventRow) -> Result<Change, Fault> {
    let before = revision.main - 1;
    // A key that is created has no past, even if it was deleted in this same revision.
    let creates = matches!(&row, EventRow::Put(put) if put.kv.create_revision == revision.main);
    let prev_kv = if creates || before < at.compact_revision {
        None
    } else {
        match past_at(view, row.key(), before)? {
            Some(mark) if !mark.is_tombstone => Some(version(view, mark.revision)?.kv),
            _ => None,
        }
    };
    Ok(match row {
        EventRow::Put(version) => Change {
            kind: ChangeKind::Put,
            kv: version.kv,
            prev_kv,
        },
        EventRow::Tombstone { key } => deletion(key, revision.main, prev_kv),
    })
}

/// A delete as watchers see it.
pub fn deletion(key: Bytes, main: i64, prev_kv: Option<KeyValue>) -> Change {
    let kv = KeyValue {
        key,
        mod_revision: main,
        ..KeyValue::default()
    };
    Change {
        kind: ChangeKind::Delete,
        kv,
        prev_kv,
    }
}
