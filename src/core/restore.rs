//! The rows of etcd's backend, taken up as ours: the reverse of [`crate::backend`].
//!
//! What is of the old cluster stays behind: its members, which entry it had applied, its version.
//! Everything that clients have put there is taken up, with the revisions that it had.

use crate::api::{Alarm, KeyRange, KeyValue, LeaseId, MemberId, Revision};
use crate::auth::{
    AuthMeta, META_AUTH, Permission, PermissionKind, Role, User, encode_auth_meta, role_row,
    user_row,
};
use crate::codec::{
    ALARM_RAISED, META_COMPACTED, META_MVCC, MvccMeta, PutRows, TombstoneRows, VERSION_PUT,
    VERSION_TOMBSTONE, alarm_key, alarm_kind, encode_compacted, encode_lease, encode_meta,
    lease_key, lease_keys_key, version_key,
};
use crate::protobuf::{Field, fields};
use crate::query::At;
use crate::view::{Batch, Fault, Table};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// `main:8 '_' sub:8`.
const REVISION_BYTES: usize = 17;
/// What etcd writes behind the revision of a delete.
const TOMBSTONE_MARK: u8 = b't';

/// What is done to revisions on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    /// The restored state is so many revisions later: clients that saw revisions which the snapshot
    /// has not see none of them twice.
    pub bump_revision: i64,
    /// Watchers and reads of earlier revisions are told that those are gone.
    pub mark_compacted: bool,
}

/// A state that is taken up row by row.
#[derive(Debug, Default)]
pub struct Restore {
    batch: Batch,
    bytes: usize,
    /// The latest version of each key.
    live: BTreeMap<Bytes, (Revision, LeaseId)>,
    leases: BTreeSet<LeaseId>,
    revision: i64,
    scheduled_compaction: i64,
    finished_compaction: i64,
    auth_enabled: bool,
    auth_revision: u64,
    has_auth: bool,
    users: Vec<(Bytes, User)>,
}

impl Restore {
    /// Takes up a row. The rows of a bucket come in the order of their keys.
    pub fn row(&mut self, bucket: &[u8], key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let taken = match bucket {
            b"key" => self.change(key, value),
            b"lease" => self.lease(value),
            b"alarm" => self.alarm(key),
            b"auth" => self.auth(key, value),
            b"authUsers" => self.user(value),
            b"authRoles" => self.role(value),
            b"meta" => self.meta(key, value),
            // Of the old cluster, or of a later version of etcd.
            _ => Ok(()),
        };
        taken.map_err(|Fault(why)| {
            let bucket = String::from_utf8_lossy(bucket);
            Fault(format!("bucket {bucket}, key {}: {why}", hex(key)))
        })
    }

    /// The rows that were made so far, once they are so many bytes.
    pub fn take(&mut self, bytes: usize) -> Option<Batch> {
        if self.bytes < bytes {
            return None;
        }
        self.bytes = 0;
        Some(core::mem::take(&mut self.batch))
    }

    /// The rest of the rows, and where the state stands.
    pub fn finish(mut self, options: RestoreOptions) -> (Batch, At) {
        let revision = self
            .revision
            .max(self.scheduled_compaction)
            .max(self.finished_compaction)
            .max(1)
            .saturating_add(options.bump_revision);
        let compact_revision = match options.mark_compacted {
            true => revision,
            false => match self.scheduled_compaction.max(self.finished_compaction) {
                0 => At::EMPTY.compact_revision,
                compacted => compacted,
            },
        };
        for (key, (_, lease)) in &self.live {
            if self.leases.contains(lease) {
                let row_key = lease_keys_key(*lease, key);
                self.batch.put(Table::LeaseKeys, row_key, Bytes::new());
            }
        }
        let meta = encode_meta(MvccMeta {
            revision,
            compact_revision,
        });
        self.batch.put(Table::Meta, META_MVCC, meta);
        if self.finished_compaction > 0 {
            let row = encode_compacted(self.finished_compaction);
            self.batch.put(Table::Meta, META_COMPACTED, row);
        }
        self.finish_auth();
        let at = At {
            revision,
            compact_revision,
        };
        (self.batch, at)
    }

    /// Tokens of the old cluster are worth nothing in the new one.
    fn finish_auth(&mut self) {
        let revision = self.auth_revision.max(1);
        for (name, mut user) in core::mem::take(&mut self.users) {
            user.password_revision = revision;
            self.batch.put(Table::User, name, user_row(&user));
        }
        if self.has_auth {
            let meta = AuthMeta {
                enabled: self.auth_enabled,
                revision,
                tokens_since: revision,
            };
            self.batch
                .put(Table::Meta, META_AUTH, encode_auth_meta(&meta));
        }
    }

    fn put(&mut self, table: Table, key: impl Into<Bytes>, value: Bytes) {
        let key = key.into();
        self.bytes += key.len() + value.len();
        self.batch.put(table, key, value);
    }

    fn change(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let revision = revision_of(key)?;
        self.revision = self.revision.max(revision.main);
        let mark = &key[REVISION_BYTES..];
        if ![&[][..], &[TOMBSTONE_MARK]].contains(&mark) {
            return Err(Fault("its key is none of a change".into()));
        }
        // Made by etcdutl to move the revision on.
        if value.is_empty() {
            return Ok(());
        }
        let kv = key_value(value)?;
        if let Some((last, _)) = self.live.remove(&kv.key) {
            self.put(Table::Versions, version_key(&kv.key, last), VERSION_PUT);
        }
        if !mark.is_empty() {
            let rows = TombstoneRows::new(&kv.key, revision);
            self.put(Table::Events, rows.event_key, rows.event);
            self.put(Table::Versions, rows.version_key, VERSION_TOMBSTONE);
            self.batch.delete(Table::Current, kv.key);
            return Ok(());
        }
        let sound = kv.mod_revision == revision.main
            && (1..=revision.main).contains(&kv.create_revision)
            && kv.version > 0;
        if !sound {
            return Err(Fault("its value says revisions that cannot be".into()));
        }
        let rows = PutRows::new(&kv, revision.sub);
        self.put(Table::Current, rows.kv.key, rows.current);
        self.put(Table::Events, rows.event_key, rows.event);
        self.live.insert(kv.key, (revision, kv.lease));
        Ok(())
    }

    fn lease(&mut self, value: &[u8]) -> Result<(), Fault> {
        let (mut id, mut ttl) = (0, 0);
        for field in fields(value) {
            match field? {
                Field::Number(1, n) => id = n as i64,
                Field::Number(2, n) => ttl = n as i64,
                _ => {}
            }
        }
        let id = LeaseId(id);
        self.leases.insert(id);
        let key = Bytes::copy_from_slice(&lease_key(id));
        self.put(Table::Lease, key, encode_lease(ttl));
        Ok(())
    }

    fn alarm(&mut self, key: &[u8]) -> Result<(), Fault> {
        let (mut member, mut kind) = (0, 0);
        for field in fields(key) {
            match field? {
                Field::Number(1, n) => member = n,
                Field::Number(2, n) => kind = n,
                _ => {}
            }
        }
        let kind = u8::try_from(kind).ok().and_then(alarm_kind);
        let kind = kind.ok_or_else(|| Fault("an alarm of an unknown kind".into()))?;
        let member = MemberId(member);
        let key = Bytes::copy_from_slice(&alarm_key(Alarm { member, kind }));
        self.put(Table::Alarm, key, ALARM_RAISED);
        Ok(())
    }

    fn auth(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.has_auth = true;
        match key {
            b"authEnabled" => self.auth_enabled = value == [1],
            b"authRevision" => {
                let revision = value.try_into();
                let revision = revision.map_err(|_| Fault("it is no number".into()))?;
                self.auth_revision = u64::from_be_bytes(revision);
            }
            _ => {}
        }
        Ok(())
    }

    fn user(&mut self, value: &[u8]) -> Result<(), Fault> {
        let mut name = Bytes::new();
        let mut user = User {
            password: Bytes::new(),
            no_password: false,
            password_revision: 0,
            roles: Vec::new(),
        };
        for field in fields(value) {
            match field? {
                Field::Bytes(1, bytes) => name = Bytes::copy_from_slice(bytes),
                Field::Bytes(2, bytes) => user.password = Bytes::copy_from_slice(bytes),
                Field::Bytes(3, role) => user.roles.push(text(role)?),
                Field::Bytes(4, options) => {
                    for option in fields(options) {
                        user.no_password |= matches!(option?, Field::Number(1, 1));
                    }
                }
                _ => {}
            }
        }
        text(&name)?;
        user.roles.sort_unstable();
        user.roles.dedup();
        self.has_auth = true;
        self.users.push((name, user));
        Ok(())
    }

    fn role(&mut self, value: &[u8]) -> Result<(), Fault> {
        let mut name = Bytes::new();
        let mut role = Role::default();
        for field in fields(value) {
            match field? {
                Field::Bytes(1, bytes) => name = Bytes::copy_from_slice(bytes),
                Field::Bytes(2, bytes) => role.permissions.push(permission(bytes)?),
                _ => {}
            }
        }
        text(&name)?;
        self.has_auth = true;
        self.put(Table::Role, name, role_row(&role));
        Ok(())
    }

    fn meta(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        match key {
            b"scheduledCompactRev" => self.scheduled_compaction = revision_of(value)?.main,
            b"finishedCompactRev" => self.finished_compaction = revision_of(value)?.main,
            _ => {}
        }
        Ok(())
    }
}

fn revision_of(bytes: &[u8]) -> Result<Revision, Fault> {
    let no_revision = || Fault("it is no revision".into());
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 8)?.try_into().ok()?;
        Some(i64::from_be_bytes(bytes)).filter(|number| *number >= 0)
    };
    let separator = bytes.get(8).copied().filter(|byte| *byte == b'_');
    separator.ok_or_else(no_revision)?;
    let (main, sub) = number(0).zip(number(9)).ok_or_else(no_revision)?;
    Ok(Revision { main, sub })
}

fn key_value(value: &[u8]) -> Result<KeyValue, Fault> {
    let mut kv = KeyValue::default();
    for field in fields(value) {
        match field? {
            Field::Bytes(1, bytes) => kv.key = Bytes::copy_from_slice(bytes),
            Field::Bytes(5, bytes) => kv.value = Bytes::copy_from_slice(bytes),
            Field::Number(2, n) => kv.create_revision = n as i64,
            Field::Number(3, n) => kv.mod_revision = n as i64,
            Field::Number(4, n) => kv.version = n as i64,
            Field::Number(6, n) => kv.lease = LeaseId(n as i64),
            _ => {}
        }
    }
    if kv.key.is_empty() {
        return Err(Fault("its value names no key".into()));
    }
    Ok(kv)
}

fn permission(bytes: &[u8]) -> Result<Permission, Fault> {
    let (mut kind, mut key, mut end) = (0, Bytes::new(), Bytes::new());
    for field in fields(bytes) {
        match field? {
            Field::Number(1, n) => kind = n,
            Field::Bytes(2, bytes) => key = Bytes::copy_from_slice(bytes),
            Field::Bytes(3, bytes) => end = Bytes::copy_from_slice(bytes),
            _ => {}
        }
    }
    let kind = match kind {
        0 => PermissionKind::Read,
        1 => PermissionKind::Write,
        2 => PermissionKind::ReadWrite,
        _ => return Err(Fault("a permission of an unknown kind".into())),
    };
    let range = KeyRange::of(key, end);
    Ok(Permission { kind, range })
}

fn text(bytes: &[u8]) -> Result<String, Fault> {
    match core::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() => Ok(text.into()),
        _ => Err(Fault("a name that is no text".into())),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
