//! Snapshots: their header before anything is received, and their rows as they come.

use super::{INDEX_LEAP_MAX, Known, Refusal, check_position, entry};
use crate::meta::{RaftRows, RowOf};
use crate::snapshot::Header;
use crate::types::SnapshotMeta;
use bytes::Bytes;
use detcd_core::codec;
use detcd_core::view::{Batch, Table};

/// Whether a snapshot with this header may be received and installed.
pub(crate) fn check_header(from: u64, header: &Header, known: &Known<'_>) -> Result<(), Refusal> {
    known.check_leader(from, &header.vote)?;
    let sender = header.vote.leader_id().term;
    let SnapshotMeta {
        last_log_id,
        last_membership,
    } = &header.meta;
    let Some(last) = last_log_id else {
        return Err(Refusal::Snapshot("it covers no entry".to_owned()));
    };
    check_position(Some(last), sender)?;
    let own = known.last.map_or(0, |last| last.index());
    if last.index() > own.saturating_add(INDEX_LEAP_MAX) {
        return Err(Refusal::IndexLeap {
            index: last.index(),
            last: own,
        });
    }
    let membership = last_membership.log_id();
    let is_covered = membership
        .as_ref()
        .is_some_and(|at| at <= last && at.index() <= last.index());
    if !is_covered {
        let problem = format!("it ends at {last}, its membership is of {membership:?}");
        return Err(Refusal::Snapshot(problem));
    }
    entry::check_membership(last_membership.membership())?;
    if known.is_outdated(&header.vote) {
        return Ok(());
    }
    known.check_stranger(from, &header.vote, Some(last))?;
    known.check_history(last, &header.vote)
}

/// Looks at the rows of a snapshot on their way to the stage.
#[derive(Default)]
pub(crate) struct Rows {
    /// The table and the key of the last row.
    after: Option<(Table, Bytes)>,
    raft: RaftRows,
}

impl Rows {
    /// Whether these rows can be read, and follow the ones before in the order of the tables.
    pub(crate) fn check(&mut self, batch: &Batch) -> Result<(), Refusal> {
        let refused = |problem: String| Refusal::Snapshot(problem);
        for row in &batch.writes {
            let value = row
                .value
                .as_ref()
                .ok_or_else(|| refused("it deletes a row".to_owned()))?;
            let at = (row.table, row.key.clone());
            if self.after.as_ref().is_some_and(|after| *after >= at) {
                let table = row.table.name();
                return Err(refused(format!("rows of table {table} are out of order")));
            }
            self.after = Some(at);
            match RaftRows::which(row.table, &row.key) {
                Some(RowOf::Applied) => self.raft.read_applied(value.clone()),
                Some(RowOf::Membership) => self.raft.read_membership(value.clone()),
                None => codec::check_row(row.table, &row.key, value),
            }
            .map_err(|fault| refused(fault.to_string()))?;
        }
        Ok(())
    }

    /// Whether all rows together are the state that the header promised.
    pub(crate) fn end(&self, meta: &SnapshotMeta) -> Result<(), Refusal> {
        match self.raft.snapshot_meta() == *meta {
            true => Ok(()),
            false => Err(Refusal::Snapshot(format!(
                "it was to cover {:?}, its rows cover {:?}",
                meta.last_log_id, self.raft.applied
            ))),
        }
    }
}
