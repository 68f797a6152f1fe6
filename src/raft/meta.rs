//! The rows that raft keeps in the applied state: which entry was applied last, and the
//! membership. They are written in the same batch as the rows of the entries that they speak of.

use crate::message::{put_log_id, read_log_id};
use crate::payload::{put_membership, read_membership};
use crate::types::{LogId, SnapshotMeta, StoredMembership};
use bytes::Bytes;
use detcd_core::encoding::{DecodeError, Reader, Writer};
use detcd_core::view::{Fault, Table, View};

const APPLIED: &[u8] = b"raft/applied";
const MEMBERSHIP: &[u8] = b"raft/membership";

const VERSION: u8 = 1;

/// What the rows say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RaftRows {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
}

/// One of raft's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowOf {
    Applied,
    Membership,
}

impl RaftRows {
    pub(crate) fn load(view: &dyn View) -> Result<RaftRows, Fault> {
        let mut rows = RaftRows::default();
        if let Some(row) = view.get(Table::Meta, APPLIED)? {
            rows.read_applied(row)?;
        }
        if let Some(row) = view.get(Table::Meta, MEMBERSHIP)? {
            rows.read_membership(row)?;
        }
        Ok(rows)
    }

    /// Which of the two rows this is, if it is one of them.
    pub(crate) fn which(table: Table, key: &[u8]) -> Option<RowOf> {
        match (table, key) {
            (Table::Meta, APPLIED) => Some(RowOf::Applied),
            (Table::Meta, MEMBERSHIP) => Some(RowOf::Membership),
            _ => None,
        }
    }

    pub(crate) fn read_applied(&mut self, row: Bytes) -> Result<(), Fault> {
        self.applied = decode_applied(row).map_err(|error| fault(APPLIED, error))?;
        Ok(())
    }

    pub(crate) fn read_membership(&mut self, row: Bytes) -> Result<(), Fault> {
        self.membership = decode_membership(row).map_err(|error| fault(MEMBERSHIP, error))?;
        Ok(())
    }

    pub(crate) fn snapshot_meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        }
    }
}

pub(crate) fn applied_row(applied: &LogId) -> (Bytes, Bytes) {
    let mut out = Writer::with_capacity(18);
    out.u8(VERSION);
    put_log_id(&mut out, Some(applied));
    (Bytes::from_static(APPLIED), out.finish())
}

pub(crate) fn membership_row(membership: &StoredMembership) -> (Bytes, Bytes) {
    let mut out = Writer::default();
    out.u8(VERSION);
    put_stored_membership(&mut out, membership);
    (Bytes::from_static(MEMBERSHIP), out.finish())
}

pub(crate) fn put_stored_membership(out: &mut Writer, membership: &StoredMembership) {
    put_log_id(out, membership.log_id().as_ref());
    put_membership(out, membership.membership());
}

pub(crate) fn read_stored_membership(
    reader: &mut Reader<'_>,
) -> Result<StoredMembership, DecodeError> {
    let log_id = read_log_id(reader)?;
    Ok(StoredMembership::new(log_id, read_membership(reader)?))
}

fn decode_applied(row: Bytes) -> Result<Option<LogId>, DecodeError> {
    let mut reader = Reader::new("row of the applied index", &row);
    reader.version(VERSION)?;
    let applied = read_log_id(&mut reader)?;
    reader.end()?;
    Ok(applied)
}

fn decode_membership(row: Bytes) -> Result<StoredMembership, DecodeError> {
    let mut reader = Reader::new("row of the membership", &row);
    reader.version(VERSION)?;
    let membership = read_stored_membership(&mut reader)?;
    reader.end()?;
    Ok(membership)
}

fn fault(row: &[u8], error: DecodeError) -> Fault {
    Fault(format!(
        "row {} of table meta: {error}",
        String::from_utf8_lossy(row)
    ))
}
