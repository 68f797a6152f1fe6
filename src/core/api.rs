//! The domain types: what requests and replies mean, apart from any protocol's bytes.

use crate::error::Error;
use crate::v2;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// Milliseconds of a member's own monotonic clock. Only differences mean anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl core::ops::Add for Millis {
    type Output = Millis;
    fn add(self, other: Millis) -> Millis {
        Millis(self.0.saturating_add(other.0))
    }
}

impl core::ops::Sub for Millis {
    type Output = Millis;
    /// The time since `other`, or zero if `other` is later.
    fn sub(self, other: Millis) -> Millis {
        Millis(self.0.saturating_sub(other.0))
    }
}

/// etcd's member id; printed in hexadecimal without leading zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

/// etcd's cluster id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u64);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A lease. Zero is "no lease" (in a put) or "choose one" (in a grant).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl LeaseId {
    pub const NONE: LeaseId = LeaseId(0);
}

/// The number of a change: `main` counts writes (a transaction is one), `sub` the changes within
/// one. An empty store is at revision 1; the first write gives 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    pub main: i64,
    pub sub: i64,
}

/// Which keys a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRange {
    One(Bytes),
    /// `[start, end)`; `end = None` means every key from `start` on. May be empty or inverted.
    Span {
        start: Bytes,
        end: Option<Bytes>,
    },
}

impl KeyRange {
    /// etcd's pair of `key` and `range_end`: no end means the one key, an end of one zero byte
    /// means every key from `key` on. Whether an empty key is refused or stands for the first one
    /// is up to who is asked.
    pub fn of(key: Bytes, range_end: Bytes) -> KeyRange {
        match &range_end[..] {
            [] => KeyRange::One(key),
            [0] => KeyRange::Span {
                start: key,
                end: None,
            },
            _ => KeyRange::Span {
                start: key,
                end: Some(range_end),
            },
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            KeyRange::One(one) => one == key,
            KeyRange::Span { start, end } => {
                key >= &start[..] && end.as_ref().is_none_or(|end| key < &end[..])
            }
        }
    }
}

/// A key and its value, as of some revision (etcd: mvccpb.KeyValue).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    pub key: Bytes,
    pub value: Bytes,
    pub create_revision: i64,
    pub mod_revision: i64,
    pub version: i64,
    pub lease: LeaseId,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    #[default]
    Key,
    Version,
    Create,
    Mod,
    Value,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    #[default]
    None,
    Ascend,
    Descend,
}

/// A read of keys. Zeros mean "no limit", "latest" and "no bound", as in etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRequest {
    pub range: KeyRange,
    pub limit: i64,
    pub revision: i64,
    pub sort_order: SortOrder,
    pub sort_target: SortTarget,
    pub serializable: bool,
    pub keys_only: bool,
    pub count_only: bool,
    pub min_mod_revision: i64,
    pub max_mod_revision: i64,
    pub min_create_revision: i64,
    pub max_create_revision: i64,
}

impl RangeRequest {
    /// A read of `range` at the latest revision with every option at its default.
    pub fn of(range: KeyRange) -> RangeRequest {
        RangeRequest {
            range,
            limit: 0,
            revision: 0,
            sort_order: SortOrder::None,
            sort_target: SortTarget::Key,
            serializable: false,
            keys_only: false,
            count_only: false,
            min_mod_revision: 0,
            max_mod_revision: 0,
            min_create_revision: 0,
            max_create_revision: 0,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeReply {
    pub kvs: Vec<KeyValue>,
    pub more: bool,
    pub count: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutRequest {
    pub key: Bytes,
    pub value: Bytes,
    pub lease: LeaseId,
    pub prev_kv: bool,
    pub ignore_value: bool,
    pub ignore_lease: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutReply {
    pub prev_kv: Option<KeyValue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRangeRequest {
    pub range: KeyRange,
    pub prev_kv: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRangeReply {
    pub deleted: i64,
    pub prev_kvs: Vec<KeyValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
    Equal,
    Greater,
    Less,
    NotEqual,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareTarget {
    Version(i64),
    Create(i64),
    Mod(i64),
    Value(Bytes),
    Lease(LeaseId),
}

/// A condition on every key of `range`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    pub range: KeyRange,
    pub op: CompareOp,
    pub target: CompareTarget,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnRequest {
    pub compare: Vec<Compare>,
    pub success: Vec<Op>,
    pub failure: Vec<Op>,
}

impl TxnRequest {
    /// Whether no branch writes; such a transaction is a read and never enters the log.
    pub fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|op| match op {
            Op::Range(_) => true,
            Op::Put(_) | Op::DeleteRange(_) => false,
            Op::Txn(txn) => txn.is_read_only(),
        })
    }

    /// Whether every read of a read-only transaction asks for serializable consistency.
    pub fn is_serializable(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|op| match op {
            Op::Range(range) => range.serializable,
            Op::Put(_) | Op::DeleteRange(_) => false,
            Op::Txn(txn) => txn.is_serializable(),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpReply {
    Range(RangeReply),
    Put(PutReply),
    DeleteRange(DeleteRangeReply),
    Txn(TxnReply),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnReply {
    pub succeeded: bool,
    pub responses: Vec<OpReply>,
    /// The store's revision within the transaction after each operation: the nested headers of
    /// etcd's responses carry it. Same length as `responses`.
    pub revisions: Vec<i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactRequest {
    pub revision: i64,
    /// Answer only when the rows are gone.
    pub physical: bool,
}

/// What a committed write answers. `revision` of the header is beside it in [`Outcome`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Put(PutReply),
    DeleteRange(DeleteRangeReply),
    Txn(TxnReply),
    Compact,
    LeaseGrant {
        id: LeaseId,
        ttl: i64,
    },
    LeaseRevoke,
    /// The alarm as it is raised now.
    AlarmRaise(Alarm),
    /// The alarm that is raised no more; `None` if it was not.
    AlarmDisarm(Option<Alarm>),
    /// The version that the members are to be downgraded to now.
    Downgrade(Option<String>),
    /// What the write did to the tree of v2, or why it did nothing.
    V2(v2::Operation, Result<Arc<v2::Event>, v2::Refused>),
    V2Auth(Result<v2::auth::AuthReply, v2::auth::AuthRefused>),
    /// A user's token; empty if members keep none. `revision` is the auth revision that it is of.
    Authenticated {
        token: String,
        revision: u64,
    },
    /// The command has no answer of its own (member attributes, users and roles).
    Done,
}

/// How a committed write ended: its reply or the error found at apply, and the revision of the
/// store after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub revision: i64,
    pub result: Result<Reply, Error>,
}

/// What a lease has left. Unknown leases answer `ttl = -1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseInfo {
    pub id: LeaseId,
    /// Seconds left; -1 if there is no such lease.
    pub ttl: i64,
    pub granted_ttl: i64,
    pub keys: Vec<Bytes>,
}

/// A change that watchers see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    pub kind: ChangeKind,
    /// For a delete: the key and `mod_revision` only.
    pub kv: KeyValue,
    /// The version before, if there was one.
    pub prev_kv: Option<KeyValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Put,
    Delete,
}

/// A member as clients see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    pub id: MemberId,
    /// Empty until the member has published itself.
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    pub is_learner: bool,
}

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum AlarmKind {
    /// The member's store is at its quota: nothing may be added.
    NoSpace = 1,
    /// The member's data differs from that of the others: nothing may be changed.
    Corrupt = 2,
}

/// An alarm and the member that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    pub member: MemberId,
    pub kind: AlarmKind,
}

/// What a client wants with alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmRequest {
    /// The alarms that are raised, or those of one kind.
    List(Option<AlarmKind>),
    Raise(Alarm),
    Disarm(Alarm),
    /// To raise or disarm an alarm of no kind does nothing.
    Nothing,
}

/// A watch stream: one client connection that carries many watchers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// A watcher within its stream. Zero in a create request means "choose one".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub i64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchCreate {
    pub id: WatchId,
    pub range: KeyRange,
    /// First revision wanted; 0 means "from now".
    pub start_revision: i64,
    pub progress_notify: bool,
    pub no_put: bool,
    pub no_delete: bool,
    pub prev_kv: bool,
    pub fragment: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchRequest {
    /// A create request that the protocol could not parse is answered as etcd does: created and
    /// canceled in one response, with id -1.
    Create(WatchCreate),
    Cancel(WatchId),
    Progress,
}

/// What a watch stream sends. `revision` is the header's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchResponse {
    pub watch_id: i64,
    pub revision: i64,
    pub created: bool,
    pub canceled: bool,
    pub cancel_reason: String,
    pub compact_revision: i64,
    pub fragment: bool,
    pub events: Vec<KeyChange>,
}
