//! The rows of every table of the key space.
//!
//! A version of a key is stored twice, in [`Table::Current`](crate::view::Table::Current) for the
//! latest reads and in [`Table::Events`](crate::view::Table::Events) for everything else. The two
//! rows share their first bytes, the second only adds the key, so [`PutRows`] cuts the rows of a
//! put out of one allocation: stores that keep [`Bytes`] keep one copy.
//!
//! [`Table::Versions`](crate::view::Table::Versions) has a row for each change but the one that
//! `Current` shows: a put of a new key costs two rows, and one is added when it is over.
//!
//! ```text
//! Current   key                        -> 01 create main sub version lease len value
//! Events    main:8 sub:8               -> 01 create main sub version lease len value key
//!                                       | 02 key                      (the key was deleted)
//! Versions  escaped-key main:8 sub:8   -> 01 put | 02 deleted
//! Lease     id:8                       -> 01 ttl
//! LeaseKeys id:8 key                   -> (empty)
//! Member    id:8                       -> 01 name peer-urls client-urls learner
//! Alarm     member:8 kind:1            -> 01
//! Meta      "log/" id:8                -> 01 number              (of a member's raft log)
//! Meta      "mvcc"                     -> 01 revision compacted
//! Meta      "compacted"                -> 01 compacted            (rows are gone up to here)
//! Meta      "downgrade"                -> 01 version              (that is to be downgraded to)
//! V2        see [`crate::v2`]
//! User Role see [`crate::auth`]
//! ```

use crate::api::{Alarm, AlarmKind, KeyValue, LeaseId, Member, MemberId, Revision};
use crate::encoding::{Reader, Writer, varint_len};
use crate::view::Fault;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// A stored put, and every row of this version of the format but tombstones.
const TAG_ROW: u8 = 1;
/// A stored delete.
const TAG_TOMBSTONE: u8 = 2;

/// The key in `Meta` of the key space's own row, see [`encode_meta`].
pub const META_MVCC: &[u8] = b"mvcc";
/// The key in `Meta` that says up to where compaction has removed rows.
pub const META_COMPACTED: &[u8] = b"compacted";

/// The key in `Meta` of the version that the members are to be downgraded to.
pub const META_DOWNGRADE: &[u8] = b"downgrade";

/// The value of a `Versions` row of a put that is over.
pub const VERSION_PUT: Bytes = Bytes::from_static(&[TAG_ROW]);
/// The value of a `Versions` row of a delete.
pub const VERSION_TOMBSTONE: Bytes = Bytes::from_static(&[TAG_TOMBSTONE]);

/// A stored version of a key: what clients see of it, and the sub-revision, which they do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub kv: KeyValue,
    pub sub: i64,
}

impl Version {
    pub fn revision(&self) -> Revision {
        Revision {
            main: self.kv.mod_revision,
            sub: self.sub,
        }
    }
}

/// A row of `Events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventRow {
    Put(Version),
    Tombstone { key: Bytes },
}

impl EventRow {
    pub fn key(&self) -> &Bytes {
        match self {
            EventRow::Put(version) => &version.kv.key,
            EventRow::Tombstone { key } => key,
        }
    }
}

/// The rows of one put, as slices of one allocation.
#[derive(Clone, Debug)]
pub struct PutRows {
    pub current: Bytes,
    pub event_key: Bytes,
    pub event: Bytes,
    /// What clients see of the new version; sliced from the same allocation.
    pub kv: KeyValue,
}

impl PutRows {
    /// Copies the key and the value of `kv`, once, and lays out its rows around them.
    pub fn new(kv: &KeyValue, sub: i64) -> PutRows {
        let KeyValue { key, value, .. } = kv;
        let numbers = [
            kv.create_revision,
            kv.mod_revision,
            sub,
            kv.version,
            kv.lease.0,
        ];
        let numbers_len: usize = numbers.iter().map(|n| varint_len(*n as u64)).sum();
        let head = 1 + numbers_len + varint_len(value.len() as u64);
        let value_end = head + value.len();
        let key_end = value_end + key.len();
        let end = key_end + REVISION_LEN;

        let mut out = Writer::with_capacity(end);
        out.u8(TAG_ROW);
        for n in numbers {
            out.i64(n);
        }
        out.bytes(value);
        out.slice(key);
        out.slice(&revision_key(Revision {
            main: kv.mod_revision,
            sub,
        }));
        assert_eq!(out.len(), end, "the rows of a put are laid out to the byte");

        let all = out.finish();
        PutRows {
            current: all.slice(..value_end),
            event: all.slice(..key_end),
            event_key: all.slice(key_end..),
            kv: KeyValue {
                key: all.slice(value_end..key_end),
                value: all.slice(head..value_end),
                create_revision: kv.create_revision,
                mod_revision: kv.mod_revision,
                version: kv.version,
                lease: kv.lease,
            },
        }
    }
}

/// Every row of one delete, as slices of one allocation.
#[derive(Clone, Debug)]
pub struct TombstoneRows {
    pub event_key: Bytes,
    pub event: Bytes,
    pub version_key: Bytes,
}

impl TombstoneRows {
    pub fn new(key: &[u8], revision: Revision) -> TombstoneRows {
        let key_end = 1 + key.len();
        let end = key_end + escaped_len(key) + REVISION_LEN;
        let mut out = Vec::with_capacity(end);
        out.push(TAG_TOMBSTONE);
        out.extend_from_slice(key);
        escape_into(&mut out, key);
        out.extend_from_slice(&revision_key(revision));
        let all = Bytes::from(out);
        TombstoneRows {
            event: all.slice(..key_end),
            version_key: all.slice(key_end..),
            event_key: all.slice(end - REVISION_LEN..),
        }
    }
}

/// Reads a row of `Current`.
pub fn decode_current(key: Bytes, row: &Bytes) -> Result<Version, Fault> {
    let mut reader = Reader::new("row of the latest version of a key", row);
    reader.version(TAG_ROW)?;
    let version = decode_version(&mut reader, key)?;
    reader.end()?;
    Ok(version)
}

/// Of a row of `Current` only the main revision that created the key.
pub fn decode_created(row: &Bytes) -> Result<i64, Fault> {
    let mut reader = Reader::new("row of the latest version of a key", row);
    reader.version(TAG_ROW)?;
    match reader.i64()? {
        created @ 1.. => Ok(created),
        _ => Err(reader.error("a revision that cannot be").into()),
    }
}

/// Reads a row of `Events`, which must be the one of `revision`.
pub fn decode_event(revision: Revision, row: &Bytes) -> Result<EventRow, Fault> {
    let mut reader = Reader::new("row of a change", row);
    match reader.u8()? {
        TAG_ROW => {
            let mut version = decode_version(&mut reader, Bytes::new())?;
            version.kv.key = reader.rest();
            if version.revision() != revision {
                return Err(Fault(format!(
                    "the row of revision {}.{} says that it is of revision {}.{}",
                    revision.main, revision.sub, version.kv.mod_revision, version.sub
                )));
            }
            Ok(EventRow::Put(version))
        }
        TAG_TOMBSTONE => Ok(EventRow::Tombstone { key: reader.rest() }),
        _ => Err(reader.error("unknown format").into()),
    }
}

fn decode_version(reader: &mut Reader<'_>, key: Bytes) -> Result<Version, Fault> {
    let create_revision = reader.i64()?;
    let mod_revision = reader.i64()?;
    let sub = reader.i64()?;
    let version = reader.i64()?;
    let lease = LeaseId(reader.i64()?);
    let value = reader.bytes()?;
    let sound = 0 < create_revision && create_revision <= mod_revision && version > 0 && sub >= 0;
    if !sound {
        return Err(reader.error("revisions that cannot be").into());
    }
    let kv = KeyValue {
        key,
        value,
        create_revision,
        mod_revision,
        version,
        lease,
    };
    Ok(Version { kv, sub })
}

/// Whether a row of `Versions` is a delete.
pub fn decode_is_tombstone(row: &[u8]) -> Result<bool, Fault> {
    match row {
        [TAG_ROW] => Ok(false),
        [TAG_TOMBSTONE] => Ok(true),
        _ => Err(Fault(format!(
            "cannot decode a row of the versions of a key: {row:02x?}"
        ))),
    }
}

/// The bytes that a revision takes in keys.
pub const REVISION_LEN: usize = 16;

/// A revision as a key of `Events`.
pub fn revision_key(revision: Revision) -> [u8; REVISION_LEN] {
    let mut key = [0; REVISION_LEN];
    key[..8].copy_from_slice(&revision.main.to_be_bytes());
    key[8..].copy_from_slice(&revision.sub.to_be_bytes());
    key
}

pub fn decode_revision(key: &[u8]) -> Result<Revision, Fault> {
    let fault = || Fault(format!("cannot decode a revision: {key:02x?}"));
    let (main, sub) = key.split_at_checked(8).ok_or_else(fault)?;
    let main = i64::from_be_bytes(main.try_into().map_err(|_| fault())?);
    let sub = i64::from_be_bytes(sub.try_into().map_err(|_| fault())?);
    if main < 0 || sub < 0 {
        Err(fault())
    } else {
        Ok(Revision { main, sub })
    }
}

/// The key in `Versions` of `key` at `revision`.
pub fn version_key(key: &[u8], revision: Revision) -> Vec<u8> {
    let mut out = Vec::with_capacity(escaped_len(key) + REVISION_LEN);
    escape_into(&mut out, key);
    out.extend_from_slice(&revision_key(revision));
    out
}

/// Where the versions of keys not less than `key` begin.
pub fn version_start(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(escaped_len(key));
    escape_into(&mut out, key);
    out
}

/// A generation of a key, created at main revision `created`, as the index of keys has it: they
/// sort as the keys do. It is not stored.
pub fn generation_key(key: &[u8], created: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(escaped_len(key) + 8);
    escape_into(&mut out, key);
    out.extend_from_slice(&created.to_be_bytes());
    out
}

/// As [`generation_key`], of a key as the keys of `Versions` begin with it.
pub fn generation_key_of_escaped(escaped: &[u8], created: i64) -> Vec<u8> {
    [escaped, &created.to_be_bytes()].concat()
}

/// The key, and the main revision that created it.
pub fn split_generation_key(generation: &[u8]) -> (Vec<u8>, i64) {
    let whole = "a generation has an escaped key and a revision";
    let (escaped, created) = generation.split_last_chunk::<8>().expect(whole);
    let escaped = escaped.strip_suffix(&[0, 1]).expect(whole);
    (unescape(escaped), i64::from_be_bytes(*created))
}

/// Splits a key of `Versions` into the escaped key and the revision.
pub fn split_version_key(key: &[u8]) -> Result<(&[u8], Revision), Fault> {
    let at = key.len().checked_sub(REVISION_LEN);
    let at = at.ok_or_else(|| Fault(format!("a version's key is too short: {key:02x?}")))?;
    let (escaped, revision) = key.split_at(at);
    Ok((escaped, decode_revision(revision)?))
}

// A zero byte becomes 00 FF, and 00 01 ends the key: escaped keys sort as the keys do, and none is
// a prefix of another, so a revision may follow.
fn escape_into(out: &mut Vec<u8>, key: &[u8]) {
    for byte in key {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 1]);
}

fn unescape(escaped: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(escaped.len());
    let mut rest = escaped.iter();
    while let Some(byte) = rest.next() {
        key.push(*byte);
        if *byte == 0 {
            rest.next();
        }
    }
    key
}

fn escaped_len(key: &[u8]) -> usize {
    key.len() + key.iter().filter(|byte| **byte == 0).count() + 2
}

/// The key in `Lease`, and the prefix in `LeaseKeys`. The sign bit is flipped so that rows sort as
/// the ids do.
pub fn lease_key(id: LeaseId) -> [u8; 8] {
    (id.0 as u64 ^ (1 << 63)).to_be_bytes()
}

pub fn decode_lease_key(key: &[u8]) -> Result<LeaseId, Fault> {
    let bytes = key
        .try_into()
        .map_err(|_| Fault(format!("not a lease's key: {key:02x?}")))?;
    Ok(LeaseId((u64::from_be_bytes(bytes) ^ (1 << 63)) as i64))
}

/// The key in `LeaseKeys`.
pub fn lease_keys_key(id: LeaseId, key: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(8 + key.len());
    out.extend_from_slice(&lease_key(id));
    out.extend_from_slice(key);
    Bytes::from(out)
}

/// The key that a row of `LeaseKeys` names.
pub fn decode_lease_keys_key(row_key: &Bytes) -> Result<Bytes, Fault> {
    if row_key.len() < 8 {
        return Err(Fault(format!("not a key of a lease: {row_key:02x?}")));
    }
    Ok(row_key.slice(8..))
}

pub fn encode_lease(ttl: i64) -> Bytes {
    let mut out = Writer::with_capacity(1 + varint_len(ttl as u64));
    out.u8(TAG_ROW);
    out.i64(ttl);
    out.finish()
}

/// The granted time-to-live in seconds.
pub fn decode_lease(row: &Bytes) -> Result<i64, Fault> {
    let mut reader = row_reader("lease", row)?;
    let ttl = reader.i64()?;
    reader.end()?;
    Ok(ttl)
}

pub fn member_key(id: MemberId) -> [u8; 8] {
    id.0.to_be_bytes()
}

/// The key in `Meta` of a member that was removed; the row is empty. It stays for ever: whoever was
/// removed never comes back under its id.
pub fn removed_key(id: MemberId) -> Bytes {
    let mut out = Vec::with_capacity(REMOVED_PREFIX.len() + 8);
    out.extend_from_slice(REMOVED_PREFIX);
    out.extend_from_slice(&member_key(id));
    Bytes::from(out)
}

/// Where the rows of removed members begin, and where they end.
pub const REMOVED_PREFIX: &[u8] = b"removed/";
pub const REMOVED_END: &[u8] = b"removed0";

pub fn decode_removed_key(key: &[u8]) -> Result<MemberId, Fault> {
    let id = key.strip_prefix(REMOVED_PREFIX);
    let id = id.and_then(|id| id.try_into().ok());
    let id = id.ok_or_else(|| Fault(format!("not a removed member's key: {key:02x?}")))?;
    Ok(MemberId(u64::from_be_bytes(id)))
}

/// The key in `Meta` of the number of a member's raft log.
pub fn member_log_key(id: MemberId) -> Bytes {
    let mut out = Vec::with_capacity(MEMBER_LOG_PREFIX.len() + 8);
    out.extend_from_slice(MEMBER_LOG_PREFIX);
    out.extend_from_slice(&member_key(id));
    Bytes::from(out)
}

/// Where the rows of the members' log numbers begin.
pub const MEMBER_LOG_PREFIX: &[u8] = b"log/";

/// Whose log number stands under this key.
pub fn decode_member_log_key(key: &[u8]) -> Result<MemberId, Fault> {
    let id = key.strip_prefix(MEMBER_LOG_PREFIX);
    let id = id.and_then(|id| id.try_into().ok());
    let id = id.ok_or_else(|| Fault(format!("not the key of a member's log: {key:02x?}")))?;
    Ok(MemberId(u64::from_be_bytes(id)))
}

pub fn encode_member_log(log: u64) -> Bytes {
    let mut out = Writer::with_capacity(11);
    out.u8(TAG_ROW);
    out.varint(log);
    out.finish()
}

pub fn decode_member_log(row: &Bytes) -> Result<u64, Fault> {
    let mut reader = row_reader("number of a member's log", row)?;
    let log = reader.varint()?;
    reader.end()?;
    Ok(log)
}

pub fn encode_member(member: &Member) -> Bytes {
    let mut out = Writer::default();
    out.u8(TAG_ROW);
    out.bytes(member.name.as_bytes());
    for urls in [&member.peer_urls, &member.client_urls] {
        out.strings(urls);
    }
    out.flag(member.is_learner);
    out.finish()
}

pub fn decode_member(key: &[u8], row: &Bytes) -> Result<Member, Fault> {
    let id = key
        .try_into()
        .map_err(|_| Fault(format!("not a member's key: {key:02x?}")))?;
    let mut reader = row_reader("member", row)?;
    let member = Member {
        id: MemberId(u64::from_be_bytes(id)),
        name: reader.string()?,
        peer_urls: reader.strings()?,
        client_urls: reader.strings()?,
        is_learner: reader.flag()?,
    };
    reader.end()?;
    Ok(member)
}

pub fn alarm_key(alarm: Alarm) -> [u8; 9] {
    let mut key = [alarm.kind as u8; 9];
    key[..8].copy_from_slice(&alarm.member.0.to_be_bytes());
    key
}

/// The value of an alarm's row, which says nothing but that it is raised.
pub const ALARM_RAISED: Bytes = Bytes::from_static(&[TAG_ROW]);

pub fn decode_alarm(key: &[u8], row: &Bytes) -> Result<Alarm, Fault> {
    row_reader("alarm", row)?.end()?;
    let alarm = match key {
        [member @ .., kind] => member.try_into().ok().zip(alarm_kind(*kind)),
        [] => None,
    };
    let (member, kind) = alarm.ok_or_else(|| Fault(format!("not an alarm's key: {key:02x?}")))?;
    Ok(Alarm {
        member: MemberId(u64::from_be_bytes(member)),
        kind,
    })
}

/// The kind of alarm with this number in rows and commands.
pub(crate) fn alarm_kind(number: u8) -> Option<AlarmKind> {
    [AlarmKind::NoSpace, AlarmKind::Corrupt]
        .into_iter()
        .find(|kind| *kind as u8 == number)
}

/// Where the key space stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MvccMeta {
    pub revision: i64,
    /// -1 if nothing was ever compacted.
    pub compact_revision: i64,
}

pub fn encode_meta(meta: MvccMeta) -> Bytes {
    let mut out = Writer::with_capacity(16);
    out.u8(TAG_ROW);
    out.i64(meta.revision);
    out.i64(meta.compact_revision);
    out.finish()
}

pub fn decode_meta(row: &Bytes) -> Result<MvccMeta, Fault> {
    let mut reader = row_reader("state of the key space", row)?;
    let meta = MvccMeta {
        revision: reader.i64()?,
        compact_revision: reader.i64()?,
    };
    reader.end()?;
    if meta.revision < 1 || meta.compact_revision < -1 || meta.compact_revision > meta.revision {
        return Err(reader.error("revisions that cannot be").into());
    }
    Ok(meta)
}

pub fn encode_downgrade(target: &str) -> Bytes {
    let mut out = Writer::with_capacity(2 + target.len());
    out.u8(TAG_ROW);
    out.bytes(target.as_bytes());
    out.finish()
}

pub fn decode_downgrade(row: &Bytes) -> Result<String, Fault> {
    let mut reader = row_reader("downgrade", row)?;
    let target = reader.string()?;
    reader.end()?;
    Ok(target)
}

pub fn encode_compacted(revision: i64) -> Bytes {
    let mut out = Writer::with_capacity(8);
    out.u8(TAG_ROW);
    out.i64(revision);
    out.finish()
}

pub fn decode_compacted(row: &Bytes) -> Result<i64, Fault> {
    let mut reader = row_reader("state of the compaction", row)?;
    let revision = reader.i64()?;
    reader.end()?;
    Ok(revision)
}

fn row_reader<'a>(what: &'static str, row: &'a Bytes) -> Result<Reader<'a>, Fault> {
    let mut reader = Reader::new(what, row);
    reader.version(TAG_ROW)?;
    Ok(reader)
}
