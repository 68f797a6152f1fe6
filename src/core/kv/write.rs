//! The writes of one main revision.

use super::history::deletion;
use super::live::live_rows;
use super::range::latest;
use crate::api::{
    ChangeKind, DeleteRangeReply, DeleteRangeRequest, KeyChange, KeyRange, KeyValue, LeaseId,
    PutReply, PutRequest, Revision,
};
use crate::codec::{
    PutRows, TombstoneRows, VERSION_PUT, VERSION_TOMBSTONE, Version, decode_current,
    decode_lease_keys_key, lease_key, lease_keys_key, version_key,
};
use crate::overlay::Overlay;
use crate::query::At;
use crate::view::{Direction, Fault, KeyBounds, Row, Table, View};
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Bound;

/// Writes the next main revision into an overlay. A writer that writes nothing makes no revision.
pub struct Writer<'o, 'v> {
    overlay: &'o mut Overlay<'v>,
    before: At,
    changes: Vec<KeyChange>,
}

impl<'o, 'v> Writer<'o, 'v> {
    pub fn new(overlay: &'o mut Overlay<'v>, before: At) -> Writer<'o, 'v> {
        Writer {
            overlay,
            before,
            changes: Vec::new(),
        }
    }

    /// What reads within this revision see: what it wrote so far.
    pub fn view(&self) -> &dyn View {
        self.overlay
    }

    /// What reads within this revision may ask for.
    pub fn at(&self) -> At {
        let written = i64::from(!self.changes.is_empty());
        At {
            revision: self.before.revision + written,
            ..self.before
        }
    }

    /// The revision after these writes, and what watchers see of them.
    pub fn finish(self) -> (i64, Vec<KeyChange>) {
        (self.at().revision, self.changes)
    }

    /// Writes a key. That its lease exists, and the key if something of it is to be kept, was
    /// checked.
    pub fn put(&mut self, put: &PutRequest) -> Result<PutReply, Fault> {
        let before = latest(self.overlay, &put.key)?;
        if let Some(before) = &before {
            self.supersede(before);
        }
        let before = before.map(|version| version.kv);
        let Revision { main, sub } = self.next_revision();
        let kept = before.as_ref();
        let value = match kept {
            Some(kept) if put.ignore_value => &kept.value,
            _ => &put.value,
        };
        let lease = match kept {
            Some(kept) if put.ignore_lease => kept.lease,
            _ => put.lease,
        };
        let kv = KeyValue {
            key: put.key.clone(),
            value: value.clone(),
            create_revision: kept.map_or(main, |kept| kept.create_revision),
            mod_revision: main,
            version: kept.map_or(1, |kept| kept.version + 1),
            lease,
        };
        let rows = PutRows::new(&kv, sub);
        let key = &rows.kv.key;
        let held_by = kept.map_or(LeaseId::NONE, |kept| kept.lease);
        if held_by != lease {
            self.detach(held_by, key);
            if lease != LeaseId::NONE {
                self.overlay
                    .put(Table::LeaseKeys, lease_keys_key(lease, key), Bytes::new());
            }
        }
        if kept.is_none() {
            self.overlay.live_keys().create(key, main);
        }
        self.overlay.put(Table::Current, key.clone(), rows.current);
        self.overlay.put(Table::Events, rows.event_key, rows.event);

        let prev_kv = if put.prev_kv { before.clone() } else { None };
        // A key that is created has no past, even if it was deleted in this same revision.
        let before = before.and_then(|before| self.before_revision(before));
        self.changes.push(KeyChange {
            kind: ChangeKind::Put,
            kv: rows.kv,
            prev_kv: before,
        });
        Ok(PutReply { prev_kv })
    }

    /// Deletes the live keys of a range, in key order.
    pub fn delete_range(&mut self, delete: &DeleteRangeRequest) -> Result<DeleteRangeReply, Fault> {
        let mut found: Vec<Row> = match &delete.range {
            KeyRange::One(key) => {
                let row = self.overlay.get(Table::Current, key)?;
                row.map(|row| (key.clone(), row)).into_iter().collect()
            }
            KeyRange::Span { start, end } => {
                let (all, direction) = (u64::MAX, Direction::Forward);
                live_rows(self.overlay, (start, end.as_deref()), all, direction)?
                    .collect::<Result<_, _>>()?
            }
        };
        if crate::mutant!(MapOrderApply) && self.overlay.len() % 2 == 1 {
            found.reverse();
        }
        let mut reply = DeleteRangeReply {
            deleted: found.len() as i64,
            prev_kvs: Vec::new(),
        };
        for (key, row) in found {
            let version = decode_current(key, &row)?;
            if delete.prev_kv {
                reply.prev_kvs.push(version.kv.clone());
            }
            self.delete(version);
        }
        Ok(reply)
    }

    /// Deletes a lease and the keys that it holds, in key order.
    pub fn revoke(&mut self, lease: LeaseId) -> Result<(), Fault> {
        for key in lease_keys(self.overlay, lease)? {
            let version = latest(self.overlay, &key)?.ok_or_else(|| {
                Fault(alloc::format!(
                    "lease {:x} holds {key:?}, which does not exist",
                    lease.0
                ))
            })?;
            self.delete(version);
        }
        self.overlay
            .delete(Table::Lease, Bytes::copy_from_slice(&lease_key(lease)));
        Ok(())
    }

    fn delete(&mut self, version: Version) {
        self.supersede(&version);
        let key = version.kv.key.clone();
        let revision = self.next_revision();
        let rows = TombstoneRows::new(&key, revision);
        self.detach(version.kv.lease, &key);
        // A change of one revision behind another.
        let is_later = !self.changes.is_empty();
        if !(crate::mutant!(StaleCount) && is_later) {
            self.overlay.live_keys().delete(&key, revision.main);
        }
        self.overlay.delete(Table::Current, key.clone());
        self.overlay.put(Table::Events, rows.event_key, rows.event);
        self.overlay
            .put(Table::Versions, rows.version_key, VERSION_TOMBSTONE);

        let before = self.before_revision(version.kv);
        self.changes.push(deletion(key, revision.main, before));
    }

    /// What was the latest version of its key is over.
    fn supersede(&mut self, version: &Version) {
        let row_key = version_key(&version.kv.key, version.revision());
        self.overlay
            .put(Table::Versions, Bytes::from(row_key), VERSION_PUT);
    }

    fn detach(&mut self, lease: LeaseId, key: &[u8]) {
        if lease != LeaseId::NONE {
            self.overlay
                .delete(Table::LeaseKeys, lease_keys_key(lease, key));
        }
    }

    fn next_revision(&self) -> Revision {
        Revision {
            main: self.before.revision + 1,
            sub: self.changes.len() as i64,
        }
    }

    /// What a key was before this main revision, given what it was until now. Watchers are told
    /// that: nobody can read the state between two changes of one revision.
    fn before_revision(&self, until_now: KeyValue) -> Option<KeyValue> {
        if until_now.mod_revision <= self.before.revision {
            return Some(until_now);
        }
        let first = self
            .changes
            .iter()
            .find(|change| change.kv.key == until_now.key);
        first.and_then(|change| change.prev_kv.clone())
    }
}

/// The keys that a lease holds, in order.
pub fn lease_keys(view: &dyn View, lease: LeaseId) -> Result<Vec<Bytes>, Fault> {
    lease_key_rows(view, lease).collect()
}

/// As [`lease_keys`], read as far as the caller goes.
pub fn lease_key_rows(
    view: &dyn View,
    lease: LeaseId,
) -> impl Iterator<Item = Result<Bytes, Fault>> + '_ {
    let start = lease_key(lease);
    let next = lease.0.checked_add(1).map(|id| lease_key(LeaseId(id)));
    let end = next
        .as_ref()
        .map_or(Bound::Unbounded, |next| Bound::Excluded(&next[..]));
    let bounds: KeyBounds<'_> = (Bound::Included(&start[..]), end);
    view.scan(Table::LeaseKeys, bounds, Direction::Forward)
        .map(|row| decode_lease_keys_key(&row?.0))
}
