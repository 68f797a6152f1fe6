//! The removal of history that nobody can read any more, in small steps beside the traffic.
//!
//! Applying a compaction only moves the compaction revision, at once and on every member alike.
//! The rows go later, member by member: [`step`] names some of them, the driver writes its batch
//! and asks for the next. A row of `Meta` says up to where rows are gone; it moves with the last
//! batch, so a member that stopped in between takes up where the last whole compaction ended
//! ([`pending`]), and finds less to remove.
//!
//! Whatever batches were written, reads from the compaction revision on, and hashes, are the same.
//! The changes made at the compaction revision itself stay until the next compaction, deletes too:
//! watchers may still start there.

use super::history::{Mark, is_superseded, past_before};
use crate::api::Revision;
use crate::codec::{
    EventRow, META_COMPACTED, META_MVCC, decode_compacted, decode_event, decode_meta,
    decode_revision, encode_compacted, revision_key, version_key,
};
use crate::view::{Batch, Direction, Fault, Table, View};
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Bound;

/// How far a compaction has come; the default is its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(Option<Revision>);

/// Some rows to remove, and where to go on after the batch is written.
#[derive(Clone, Debug)]
pub struct Step {
    pub batch: Batch,
    /// `None`: with this batch the compaction is finished.
    pub next: Option<Cursor>,
}

/// The compaction revision, if rows below it may be left to remove.
pub fn pending(view: &dyn View) -> Result<Option<i64>, Fault> {
    let Some(row) = view.get(Table::Meta, META_MVCC)? else {
        return Ok(None);
    };
    let compact_revision = decode_meta(&row)?.compact_revision;
    Ok((compact_revision > finished(view)?).then_some(compact_revision))
}

/// The next step of the compaction at `compact_revision`, looking at about `budget` changes.
///
/// The batch holds until it is written, whatever is applied meanwhile; but not if the state was
/// replaced by a snapshot: then drop it and begin again.
pub fn step(
    view: &dyn View,
    from: Cursor,
    compact_revision: i64,
    budget: usize,
) -> Result<Step, Fault> {
    assert!(budget > 0, "a step without a budget never ends");
    let finished = finished(view)?;
    let mut batch = Batch::default();
    if compact_revision <= finished {
        return Ok(Step { batch, next: None });
    }
    let start = from.0.unwrap_or(Revision {
        main: finished,
        sub: 0,
    });
    let end = revision_key(Revision {
        main: compact_revision,
        sub: i64::MAX,
    });
    let start = revision_key(start);
    let bounds = (Bound::Included(&start[..]), Bound::Included(&end[..]));
    let rows = view.scan(Table::Events, bounds, Direction::Forward);
    for (looked_at, row) in rows.enumerate() {
        let (row_key, row) = row?;
        let revision = decode_revision(&row_key)?;
        if looked_at == budget {
            return Ok(Step {
                batch,
                next: Some(Cursor(Some(revision))),
            });
        }
        let event = decode_event(revision, &row)?;
        let key = event.key();
        // Below its own revision the last compaction left at most one version of a key, and this
        // change ends it. Later ones are judged at their own turn, before a tombstone's.
        if let Some(Mark { revision, .. }) = past_before(view, key, revision)?
            && revision.main < finished
        {
            remove(&mut batch, key, revision);
        }
        if revision.main == compact_revision && !crate::mutant!(CompactionCrash) {
            continue;
        }
        let is_tombstone = matches!(event, EventRow::Tombstone { .. });
        if is_tombstone || is_superseded(view, key, revision, compact_revision)? {
            remove(&mut batch, key, revision);
        }
    }
    batch.put(
        Table::Meta,
        Bytes::from_static(META_COMPACTED),
        encode_compacted(compact_revision),
    );
    Ok(Step { batch, next: None })
}

fn finished(view: &dyn View) -> Result<i64, Fault> {
    match view.get(Table::Meta, META_COMPACTED)? {
        Some(row) => decode_compacted(&row),
        None => Ok(0),
    }
}

fn remove(batch: &mut Batch, key: &[u8], revision: Revision) {
    batch.delete(Table::Versions, version_key(key, revision));
    batch.delete(Table::Events, Vec::from(revision_key(revision)));
}
