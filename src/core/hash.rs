//! etcd's hash of the key space (HashKV), bit for bit that of etcd 3.5: members compare it with
//! each other, and operators compare members with it.
//!
//! It is a CRC over the bytes of etcd's own rows: the name of the bucket, then for each change in
//! revision order its key there (`main:8 '_' sub:8`, a `t` after it for a delete) and its value (a
//! protobuf KeyValue). Changes that a compaction has made unreadable, or that a later one may,
//! are left out, so that the hash does not depend on how far the removal of rows has come.

use crate::api::{KeyValue, LeaseId, Revision};
use crate::codec::{EventRow, decode_event, decode_revision, revision_key};
use crate::error::Error;
use crate::kv::history::is_superseded;
use crate::query::{At, QueryError};
use crate::view::{Direction, Fault, Table, View};
use alloc::vec::Vec;
use core::ops::Bound;
use crc::{CRC_32_ISCSI, Crc, Digest, Table as Lanes};

static CASTAGNOLI: Crc<u32, Lanes<16>> = Crc::<u32, Lanes<16>>::new(&CRC_32_ISCSI);

/// The hash of the key space at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    pub hash: u32,
    /// The revision that was hashed.
    pub hash_revision: i64,
    /// -1 if nothing was ever compacted, as in etcd.
    pub compact_revision: i64,
}

/// Hashes the key space as of `revision`, 0 for the latest.
pub fn hash_kv(view: &dyn View, at: At, revision: i64) -> Result<HashKv, QueryError> {
    if revision > 0 && revision <= at.compact_revision {
        return Err(Error::Compacted.into());
    }
    if revision > at.revision {
        return Err(Error::FutureRevision.into());
    }
    let revision = if revision == 0 { at.revision } else { revision };
    let keep_at = if any_live(view, at, revision)? {
        revision
    } else {
        at.compact_revision
    };
    let mut digest = CASTAGNOLI.digest();
    digest.update(b"key");
    let mut value = Vec::new();
    let end = revision_key(Revision {
        main: revision.max(0),
        sub: i64::MAX,
    });
    let bounds = (Bound::Unbounded, Bound::Included(&end[..]));
    for row in view.scan(Table::Events, bounds, Direction::Forward) {
        let (row_key, row) = row?;
        let at_revision = decode_revision(&row_key)?;
        let event = decode_event(at_revision, &row)?;
        if at_revision.main <= at.compact_revision && !keeps(view, &event, at_revision, keep_at)? {
            continue;
        }
        update(&mut digest, at_revision, &event, &mut value);
    }
    let compact_revision = at.compact_revision;
    Ok(HashKv {
        hash: digest.finalize(),
        hash_revision: revision,
        compact_revision,
    })
}

/// Whether any key is live at `revision`. If none is, etcd hashes whatever rows its compaction
/// left; otherwise only those that a compaction at `revision` would leave.
fn any_live(view: &dyn View, at: At, revision: i64) -> Result<bool, Fault> {
    if revision == at.revision {
        let mut rows = view.scan(
            Table::Current,
            (Bound::Unbounded, Bound::Unbounded),
            Direction::Forward,
        );
        return Ok(rows.next().transpose()?.is_some());
    }
    let end = revision_key(Revision {
        main: revision.max(0),
        sub: i64::MAX,
    });
    // Newest first: what was written last is most likely still live.
    let bounds = (Bound::Unbounded, Bound::Included(&end[..]));
    for row in view.scan(Table::Events, bounds, Direction::Reverse) {
        let (row_key, row) = row?;
        let at_revision = decode_revision(&row_key)?;
        if keeps(
            view,
            &decode_event(at_revision, &row)?,
            at_revision,
            revision,
        )? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a compaction at `keep_at` leaves the change made at `revision`.
fn keeps(
    view: &dyn View,
    event: &EventRow,
    revision: Revision,
    keep_at: i64,
) -> Result<bool, Fault> {
    let EventRow::Put(version) = event else {
        return Ok(false);
    };
    Ok(!is_superseded(view, &version.kv.key, revision, keep_at)?)
}

fn update(
    digest: &mut Digest<'_, u32, Lanes<16>>,
    revision: Revision,
    event: &EventRow,
    value: &mut Vec<u8>,
) {
    digest.update(&revision.main.to_be_bytes());
    digest.update(b"_");
    digest.update(&revision.sub.to_be_bytes());
    if matches!(event, EventRow::Tombstone { .. }) {
        digest.update(b"t");
    }
    value.clear();
    encode_event(value, event);
    digest.update(value);
}

/// The value of a change's row in etcd.
pub(crate) fn encode_event(out: &mut Vec<u8>, event: &EventRow) {
    match event {
        EventRow::Put(version) => encode_key_value(out, &version.kv),
        EventRow::Tombstone { key } => encode_bytes(out, 1, key),
    }
}

/// The protobuf message KeyValue, fields in order and zeros left out.
fn encode_key_value(out: &mut Vec<u8>, kv: &KeyValue) {
    let LeaseId(lease) = kv.lease;
    encode_bytes(out, 1, &kv.key);
    encode_number(out, 2, kv.create_revision);
    encode_number(out, 3, kv.mod_revision);
    encode_number(out, 4, kv.version);
    encode_bytes(out, 5, &kv.value);
    encode_number(out, 6, lease);
}

pub(crate) fn encode_number(out: &mut Vec<u8>, field: u8, n: i64) {
    if n != 0 {
        out.push(field << 3);
        encode_varint(out, n as u64);
    }
}

pub(crate) fn encode_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.push(field << 3 | 2);
        encode_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

// Protobuf's varint, apart from the codec's: that one may change with our formats.
fn encode_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}
