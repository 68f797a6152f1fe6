//! Our state as the rows of etcd's backend, in the buckets, keys and values of etcd 3.5, which every
//! later version takes up. What etcd keeps there and detcd does not (the version of the cluster, so
//! that any etcd may take the state up) is left out.
//!
//! ```text
//! alarm            AlarmMember                -> (empty)
//! auth             authEnabled, authRevision  -> enabled:1, number:8
//! authRoles        name                       -> Role
//! authUsers        name                       -> User
//! key              main:8 '_' sub:8 ['t']     -> KeyValue             (t: the key was deleted)
//! lease            id:8                       -> Lease
//! members          id in hexadecimal          -> Member, as JSON
//! members_removed  id in hexadecimal          -> removed
//! meta             consistent_index, term     -> number:8
//!                  scheduledCompactRev,
//!                  finishedCompactRev         -> main:8 '_' sub:8
//!                  confState                  -> ConfState, as JSON
//! ```

use crate::alarm;
use crate::api::{KeyRange, LeaseId, Member, Revision};
use crate::auth::{AuthState, META_AUTH, PermissionKind, Role, User};
use crate::codec::{
    EventRow, META_COMPACTED, REVISION_LEN, decode_compacted, decode_event, decode_revision,
    revision_key,
};
use crate::hash::{encode_bytes, encode_event, encode_number};
use crate::query::{self, At};
use crate::view::{Direction, Fault, Table, View};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::ops::Bound;
use crc::{CRC_32_ISCSI, Crc, Digest, Table as Lanes};

static CASTAGNOLI: Crc<u32, Lanes<16>> = Crc::<u32, Lanes<16>>::new(&CRC_32_ISCSI);

/// A bucket, in the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    Alarm,
    Auth,
    AuthRoles,
    AuthUsers,
    Cluster,
    Key,
    Lease,
    Members,
    MembersRemoved,
    Meta,
}

impl Bucket {
    pub const ALL: [Bucket; 10] = [
        Bucket::Alarm,
        Bucket::Auth,
        Bucket::AuthRoles,
        Bucket::AuthUsers,
        Bucket::Cluster,
        Bucket::Key,
        Bucket::Lease,
        Bucket::Members,
        Bucket::MembersRemoved,
        Bucket::Meta,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Bucket::Alarm => "alarm",
            Bucket::Auth => "auth",
            Bucket::AuthRoles => "authRoles",
            Bucket::AuthUsers => "authUsers",
            Bucket::Cluster => "cluster",
            Bucket::Key => "key",
            Bucket::Lease => "lease",
            Bucket::Members => "members",
            Bucket::MembersRemoved => "members_removed",
            Bucket::Meta => "meta",
        }
    }
}

/// The entry that the state stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub index: u64,
    pub term: u64,
}

/// Where a walk over the rows has come to; the default is before the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The bucket's place in [`Bucket::ALL`].
    bucket: usize,
    /// In the bucket of keys: the last change that was given.
    after: Option<[u8; REVISION_LEN]>,
}

/// What a walk tells.
pub trait Visitor {
    fn bucket(&mut self, bucket: Bucket);
    /// Keys ascend within a bucket.
    fn row(&mut self, bucket: Bucket, key: &[u8], value: &[u8]);
}

/// Gives some rows, about as many as these bytes hold, and where to go on; `None` once all were
/// given.
pub fn walk(
    view: &dyn View,
    position: Position,
    cursor: Cursor,
    bytes: usize,
    visitor: &mut dyn Visitor,
) -> Result<Option<Cursor>, Fault> {
    let bucket = Bucket::ALL[cursor.bucket];
    if cursor.after.is_none() {
        visitor.bucket(bucket);
    }
    if bucket == Bucket::Key {
        let last = changes(view, cursor.after, bytes, visitor)?;
        if let Some(last) = last {
            let after = Some(last);
            return Ok(Some(Cursor { after, ..cursor }));
        }
    } else {
        let mut rows = rows(view, position, bucket)?;
        rows.sort_unstable();
        for (key, value) in rows {
            visitor.row(bucket, &key, &value);
        }
    }
    let next = cursor.bucket + 1;
    Ok((next < Bucket::ALL.len()).then_some(Cursor {
        bucket: next,
        after: None,
    }))
}

/// The hash of all rows (etcd: Maintenance.Hash), but for what differs between members.
pub fn hash(view: &dyn View) -> Result<u32, Fault> {
    let mut hasher = Hasher(CASTAGNOLI.digest());
    let position = Position { index: 0, term: 0 };
    let mut cursor = Some(Cursor::default());
    while let Some(from) = cursor {
        cursor = walk(view, position, from, usize::MAX, &mut hasher)?;
    }
    Ok(hasher.0.finalize())
}

struct Hasher(Digest<'static, u32, Lanes<16>>);

impl Visitor for Hasher {
    fn bucket(&mut self, bucket: Bucket) {
        self.0.update(bucket.name().as_bytes());
    }

    fn row(&mut self, bucket: Bucket, key: &[u8], value: &[u8]) {
        if bucket != Bucket::Meta || ![CONSISTENT_INDEX, TERM].contains(&key) {
            self.0.update(key);
            self.0.update(value);
        }
    }
}

const CONSISTENT_INDEX: &[u8] = b"consistent_index";
const TERM: &[u8] = b"term";

/// The changes after one of them; gives the last if there may be more.
fn changes(
    view: &dyn View,
    after: Option<[u8; REVISION_LEN]>,
    bytes: usize,
    visitor: &mut dyn Visitor,
) -> Result<Option<[u8; REVISION_LEN]>, Fault> {
    let start = match &after {
        Some(last) => Bound::Excluded(&last[..]),
        None => Bound::Unbounded,
    };
    let mut given = 0;
    let mut value = Vec::new();
    for row in view.scan(Table::Events, (start, Bound::Unbounded), Direction::Forward) {
        let (row_key, row) = row?;
        let revision = decode_revision(&row_key)?;
        let event = decode_event(revision, &row)?;
        if crate::mutant!(SnapshotMissesRows) && revision.main % 16 == 7 {
            continue;
        }
        value.clear();
        encode_event(&mut value, &event);
        visitor.row(Bucket::Key, &change_key(revision, &event), &value);
        given += row_key.len() + value.len();
        if given >= bytes {
            return Ok(Some(revision_key(revision)));
        }
    }
    Ok(None)
}

fn change_key(revision: Revision, event: &EventRow) -> Vec<u8> {
    let mut key = Vec::with_capacity(REVISION_LEN + 2);
    key.extend_from_slice(&etcds_revision(revision));
    if matches!(event, EventRow::Tombstone { .. }) {
        key.push(b't');
    }
    key
}

fn etcds_revision(revision: Revision) -> Vec<u8> {
    [
        &revision.main.to_be_bytes()[..],
        b"_",
        &revision.sub.to_be_bytes(),
    ]
    .concat()
}

type Row = (Vec<u8>, Vec<u8>);

fn rows(view: &dyn View, position: Position, bucket: Bucket) -> Result<Vec<Row>, Fault> {
    Ok(match bucket {
        Bucket::Alarm => alarm::raised(view)?
            .into_iter()
            .map(|alarm| {
                let mut key = Vec::new();
                encode_number(&mut key, 1, alarm.member.0 as i64);
                encode_number(&mut key, 2, alarm.kind as i64);
                (key, Vec::new())
            })
            .collect(),
        Bucket::Lease => query::leases(view)?.into_iter().map(lease).collect(),
        Bucket::Members => query::members(view)?
            .iter()
            .map(|member| (format!("{}", member.id).into_bytes(), member_json(member)))
            .collect(),
        Bucket::MembersRemoved => query::removed(view)?
            .into_iter()
            .map(|id| (format!("{id}").into_bytes(), b"removed".to_vec()))
            .collect(),
        Bucket::Meta => meta(view, position)?,
        Bucket::Auth => auth(view)?,
        Bucket::AuthRoles => {
            let auth = AuthState::load(view)?;
            let roles = auth
                .roles()
                .filter_map(|name| Some((name, auth.role(name)?)));
            roles.map(|(name, role)| self::role(name, role)).collect()
        }
        Bucket::AuthUsers => {
            let auth = AuthState::load(view)?;
            let users = auth
                .users()
                .filter_map(|name| Some((name, auth.user(name)?)));
            users.map(|(name, user)| self::user(name, user)).collect()
        }
        Bucket::Cluster | Bucket::Key => Vec::new(),
    })
}

/// Nothing as long as nobody has changed a user or a role.
fn auth(view: &dyn View) -> Result<Vec<Row>, Fault> {
    if view.get(Table::Meta, META_AUTH)?.is_none() {
        return Ok(Vec::new());
    }
    let auth = AuthState::load(view)?;
    let enabled = Vec::from([u8::from(auth.is_enabled())]);
    let revision = auth.revision().to_be_bytes().to_vec();
    Ok(Vec::from([
        (b"authEnabled".to_vec(), enabled),
        (b"authRevision".to_vec(), revision),
    ]))
}

fn user(name: &str, user: &User) -> Row {
    let mut value = Vec::new();
    encode_bytes(&mut value, 1, name.as_bytes());
    encode_bytes(&mut value, 2, &user.password);
    for role in &user.roles {
        encode_bytes(&mut value, 3, role.as_bytes());
    }
    if user.no_password {
        let mut options = Vec::new();
        encode_number(&mut options, 1, 1);
        encode_bytes(&mut value, 4, &options);
    }
    (name.as_bytes().to_vec(), value)
}

fn role(name: &str, role: &Role) -> Row {
    let mut value = Vec::new();
    encode_bytes(&mut value, 1, name.as_bytes());
    for permission in &role.permissions {
        let mut encoded = Vec::new();
        let kind = match permission.kind {
            PermissionKind::Read => 0,
            PermissionKind::Write => 1,
            PermissionKind::ReadWrite => 2,
        };
        encode_number(&mut encoded, 1, kind);
        let (key, end) = match &permission.range {
            KeyRange::One(key) => (key, &b""[..]),
            KeyRange::Span { start, end } => (start, end.as_deref().unwrap_or(b"\0")),
        };
        encode_bytes(&mut encoded, 2, key);
        encode_bytes(&mut encoded, 3, end);
        encode_bytes(&mut value, 2, &encoded);
    }
    (name.as_bytes().to_vec(), value)
}

fn lease((LeaseId(id), ttl): (LeaseId, i64)) -> Row {
    let mut value = Vec::new();
    encode_number(&mut value, 1, id);
    encode_number(&mut value, 2, ttl);
    (id.to_be_bytes().to_vec(), value)
}

fn meta(view: &dyn View, position: Position) -> Result<Vec<Row>, Fault> {
    let mut rows = Vec::from([
        (
            CONSISTENT_INDEX.to_vec(),
            position.index.to_be_bytes().to_vec(),
        ),
        (TERM.to_vec(), position.term.to_be_bytes().to_vec()),
        (b"confState".to_vec(), conf_state(&query::members(view)?)),
    ]);
    // etcd goes on with a compaction that is not finished.
    let scheduled = At::load(view)?.compact_revision;
    let finished = match view.get(Table::Meta, META_COMPACTED)? {
        Some(row) => decode_compacted(&row)?,
        None => 0,
    };
    for (name, main) in [
        (&b"scheduledCompactRev"[..], scheduled),
        (b"finishedCompactRev", finished.min(scheduled)),
    ] {
        if main > 0 {
            let at = etcds_revision(Revision { main, sub: 0 });
            rows.push((name.to_vec(), at));
        }
    }
    Ok(rows)
}

fn conf_state(members: &[Member]) -> Vec<u8> {
    let ids = |is_learner: bool| {
        let wanted = members.iter().filter(|it| it.is_learner == is_learner);
        let ids: Vec<String> = wanted.map(|it| format!("{}", it.id.0)).collect();
        ids.join(",")
    };
    let (voters, learners) = (ids(false), ids(true));
    let learners = match &learners[..] {
        "" => String::new(),
        ids => format!("\"learners\":[{ids}],"),
    };
    format!("{{\"voters\":[{voters}],{learners}\"auto_leave\":false}}").into_bytes()
}

fn member_json(member: &Member) -> Vec<u8> {
    let mut json = format!("{{\"id\":{}", member.id.0);
    strings(&mut json, "peerURLs", &member.peer_urls);
    if member.is_learner {
        json.push_str(",\"isLearner\":true");
    }
    if !member.name.is_empty() {
        json.push_str(",\"name\":");
        string(&mut json, &member.name);
    }
    if !member.client_urls.is_empty() {
        strings(&mut json, "clientURLs", &member.client_urls);
    }
    json.push('}');
    json.into_bytes()
}

fn strings(json: &mut String, name: &str, texts: &[String]) {
    json.push_str(",\"");
    json.push_str(name);
    json.push_str("\":[");
    for (place, text) in texts.iter().enumerate() {
        if place > 0 {
            json.push(',');
        }
        string(json, text);
    }
    json.push(']');
}

fn string(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c < ' ' => write!(json, "\\u{:04x}", c as u32).expect("a string takes all"),
            c => json.push(c),
        }
    }
    json.push('"');
}
