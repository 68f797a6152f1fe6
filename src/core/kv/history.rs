//! The versions that keys had.

use super::range::latest;
use crate::api::{ChangeKind, KeyChange, KeyValue, Revision};
use crate::codec::{
    EventRow, Version, decode_event, decode_is_tombstone, decode_revision, revision_key,
    split_version_key, version_key, version_start,
};
use crate::event::{CaughtUp, CompactedAt};
use crate::limits::{CATCH_UP_BYTES_MAX, CATCH_UP_EVENTS_MAX};
use crate::query::At;
use crate::view::{Direction, Fault, Table, View};
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;
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
    newest(view, &start, end.as_ref().map(|end| &end[..]))
}

/// The newest version or tombstone that is listed from `start` on up to `end`.
pub(super) fn newest(
    view: &dyn View,
    start: &[u8],
    end: Bound<&[u8]>,
) -> Result<Option<Mark>, Fault> {
    let bounds = (Bound::Included(start), end);
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
    let mut found: Vec<KeyChange> = Vec::new();
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

fn change(view: &dyn View, at: At, revision: Revision, row: EventRow) -> Result<KeyChange, Fault> {
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
        EventRow::Put(version) => KeyChange {
            kind: ChangeKind::Put,
            kv: version.kv,
            prev_kv,
        },
        EventRow::Tombstone { key } => deletion(key, revision.main, prev_kv),
    })
}

/// A delete as watchers see it.
pub fn deletion(key: Bytes, main: i64, prev_kv: Option<KeyValue>) -> KeyChange {
    let kv = KeyValue {
        key,
        mod_revision: main,
        ..KeyValue::default()
    };
    KeyChange {
        kind: ChangeKind::Delete,
        kv,
        prev_kv,
    }
}
