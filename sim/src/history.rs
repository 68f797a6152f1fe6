//! What clients did and saw: what the history checks judge.

use crate::client_records::{
    Bank, Connection, Informer, ListTxn, Listing, Observer, Ring, SavedSnapshot, Turn,
};
use crate::cluster_calls::ClusterCall;
use crate::run_facts::RunFacts;
use crate::v2_calls::V2History;
use bytes::Bytes;
use detcd_core::api::{
    CompactRequest, Compare, CompareOp, CompareTarget, DeleteRangeReply, DeleteRangeRequest,
    KeyChange, KeyRange, LeaseId, Op, OpReply, PutReply, PutRequest, RangeReply, RangeRequest,
    SortOrder, SortTarget, TxnReply, TxnRequest,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A request of a client, as far as the model knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Range(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    LeaseGrant { id: LeaseId, ttl: i64 },
    LeaseRevoke { id: LeaseId },
    Compact(CompactRequest),
}

impl Request {
    /// Whether it enters the log.
    pub fn is_write(&self) -> bool {
        match self {
            Request::Range(_) => false,
            Request::Txn(txn) => !txn.is_read_only(),
            Request::Put(_)
            | Request::Delete(_)
            | Request::LeaseGrant { .. }
            | Request::LeaseRevoke { .. }
            | Request::Compact(_) => true,
        }
    }

    /// Whether it may show any past state.
    pub fn is_serializable(&self) -> bool {
        match self {
            Request::Range(range) => range.serializable,
            Request::Txn(txn) => txn.is_read_only() && txn.is_serializable(),
            _ => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Range(RangeReply),
    Put(PutReply),
    Delete(DeleteRangeReply),
    Txn(TxnReply),
    /// As the server granted it.
    LeaseGrant {
        id: LeaseId,
        ttl: i64,
    },
    LeaseRevoke,
    Compact,
}

/// How a request ended, as its client knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `revision` is the header's.
    Done { revision: i64, reply: Reply },
    /// A server says that it had no effect and never will, and why.
    Refused(String),
    /// It had no effect and never will, and nobody judged it: a read without an answer, or a
    /// request that reached nobody.
    Failed(String),
    /// It may have taken effect, may yet do so, or never will.
    Unknown(String),
}

/// One request and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub client: u32,
    pub member: usize,
    pub called: Duration,
    /// When the client gave up, for an unknown outcome; the operation itself has no end then.
    pub ended: Duration,
    pub request: Request,
    pub outcome: Outcome,
}

impl Operation {
    /// When it was over, if it is known to be over.
    pub fn returned(&self) -> Option<Duration> {
        match self.outcome {
            Outcome::Done { .. } | Outcome::Refused(_) | Outcome::Failed(_) => Some(self.ended),
            Outcome::Unknown(_) => None,
        }
    }

    /// The reply and its revision, if there was one.
    pub fn done(&self) -> Option<(i64, &Reply)> {
        match &self.outcome {
            Outcome::Done { revision, reply } => Some((*revision, reply)),
            Outcome::Refused(_) | Outcome::Failed(_) | Outcome::Unknown(_) => None,
        }
    }

    /// Why a server refused it, if one did.
    pub fn refused(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Refused(why) => Some(why),
            Outcome::Done { .. } | Outcome::Failed(_) | Outcome::Unknown(_) => None,
        }
    }

    /// Whether it may have taken effect.
    pub fn may_have_happened(&self) -> bool {
        matches!(self.outcome, Outcome::Done { .. } | Outcome::Unknown(_))
    }
}

/// The past revisions that a transaction reads, in any of its branches.
pub fn past_reads(txn: &TxnRequest) -> Vec<i64> {
    let mut asked = Vec::new();
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            Op::Range(range) if range.revision != 0 => asked.push(range.revision),
            Op::Txn(nested) => asked.extend(past_reads(nested)),
            Op::Range(_) | Op::Put(_) | Op::DeleteRange(_) => {}
        }
    }
    asked
}

/// What a transaction did, each operation with its answer: those of the branch that it took.
pub fn taken<'a>(
    request: &'a TxnRequest,
    reply: &'a TxnReply,
) -> impl Iterator<Item = (&'a Op, &'a OpReply)> {
    let ops = match reply.succeeded {
        true => &request.success,
        false => &request.failure,
    };
    ops.iter().zip(&reply.responses)
}

/// The changes of each revision, from 2 on without a gap, as the members applied them. What a
/// change replaced is left out.
pub type Revisions = BTreeMap<i64, Vec<KeyChange>>;

/// Everything that the history checks look at. Clients write into it while they run; each list
/// is in the order in which its entries ended.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub operations: Vec<Operation>,
    /// Filled in when the run is over, once all members told of the same.
    pub revisions: Revisions,
    /// What the run itself saw.
    pub run_facts: RunFacts,
    pub watchers: Vec<Watched>,
    pub leases: Vec<LeaseLife>,
    pub list_txns: Vec<ListTxn>,
    pub banks: Vec<Bank>,
    pub rings: Vec<Ring>,
    pub turns: Vec<Turn>,
    pub observers: Vec<Observer>,
    pub snapshots: Vec<SavedSnapshot>,
    pub listings: Vec<Listing>,
    pub informers: Vec<Informer>,
    pub connections: Vec<Connection>,
    pub headers: Vec<Header>,
    pub cluster_calls: Vec<ClusterCall>,
    pub v2: V2History,
}

/// Who says an answer is from.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Who was asked.
    pub member: usize,
    pub called: Duration,
    pub ended: Duration,
    pub cluster_id: u64,
    pub member_id: u64,
    pub raft_term: u64,
}

impl History {
    /// Every past revision that a transaction reads.
    pub fn revisions_of_txns(&self) -> BTreeSet<i64> {
        let operations = self.operations.iter();
        let asked = operations.filter_map(|operation| match &operation.request {
            Request::Txn(txn) => Some(past_reads(txn)),
            _ => None,
        });
        asked.flatten().collect()
    }
}

/// The history that a run's clients share.
#[derive(Clone, Debug, Default)]
pub struct HistoryRecorder(Arc<Mutex<RecordedHistory>>);

#[derive(Debug, Default)]
struct RecordedHistory {
    history: History,
    /// Operations that were called and have not ended, in the order of their calls.
    open: BTreeMap<u64, Operation>,
    calls: u64,
}

/// An operation that was called, until its end is written down.
#[derive(Debug)]
pub struct Open(u64);

impl HistoryRecorder {
    /// Writes something down.
    pub fn note<T>(&self, write: impl FnOnce(&mut History) -> T) -> T {
        write(&mut self.recorded().history)
    }

    /// Writes down that an operation is called; as long as its end is not known, `operation` says
    /// that its outcome is unknown.
    pub fn open(&self, operation: Operation) -> Open {
        let mut recorded = self.recorded();
        recorded.calls += 1;
        let call = recorded.calls;
        recorded.open.insert(call, operation);
        Open(call)
    }

    /// Writes down how an operation ended.
    pub fn close(&self, Open(call): Open, operation: Operation) {
        let mut recorded = self.recorded();
        recorded.open.remove(&call);
        recorded.history.operations.push(operation);
    }

    /// All that was written down so far. Writes that have not ended are the last.
    pub fn read(&self) -> History {
        let recorded = self.recorded();
        let mut history = recorded.history.clone();
        let open = recorded.open.values().filter(|it| it.request.is_write());
        history.operations.extend(open.cloned());
        history
    }

    fn recorded(&self) -> MutexGuard<'_, RecordedHistory> {
        self.0.lock().expect("no client panics while it writes")
    }
}

/// A lease with one key, from its grant to the disappearance of the key, as its client saw it.
#[derive(Clone, Debug)]
pub struct LeaseLife {
    pub client: u32,
    pub id: LeaseId,
    /// Seconds, as asked for; the server may grant more.
    pub ttl: i64,
    pub key: Bytes,
    /// When the grant was called.
    pub granted: Duration,
    pub keep_alives: Vec<KeepAlive>,
    /// When the client last gave up on a keepalive: the lease may have been renewed all the same.
    pub gave_up_renewing: Option<Duration>,
    /// What was told of the time that it had left.
    pub ttl_replies: Vec<TimeToLive>,
    /// The client asked for its end, whatever came of it.
    pub revoked: bool,
    /// When reads that showed the key were called.
    pub seen: Vec<Duration>,
    /// When a read ended that showed it gone. `None` if the client gave up waiting.
    pub gone: Option<Duration>,
    /// When the put was answered that gave it its key.
    pub attached: Option<Duration>,
}

impl LeaseLife {
    /// A lease that was granted, and has its key.
    pub fn new(client: u32, id: LeaseId, ttl: i64, key: Bytes, granted: Duration) -> LeaseLife {
        LeaseLife {
            client,
            id,
            ttl,
            key,
            granted,
            keep_alives: Vec::new(),
            gave_up_renewing: None,
            ttl_replies: Vec::new(),
            revoked: false,
            seen: Vec::new(),
            gone: None,
            attached: None,
        }
    }

    /// When its time surely began for the last time, as far as it is known to have begun anew: its
    /// keepalives were called then, or its grant.
    pub fn last_begun(&self) -> Duration {
        let renewals = self.keep_alives.iter().filter(|it| it.ttl > 0);
        renewals
            .map(|it| it.called)
            .fold(self.granted, Duration::max)
    }
}

/// A keepalive that was answered.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    pub called: Duration,
    pub ended: Duration,
    /// Seconds; zero if the lease is unknown.
    pub ttl: i64,
}

/// An answer to how long a lease has left, in seconds; of an unknown one, -1 and nothing granted.
#[derive(Clone, Debug)]
pub struct TimeToLive {
    pub called: Duration,
    pub ended: Duration,
    pub ttl: i64,
    pub granted: i64,
    /// The attached keys, if they were asked for.
    pub keys: Option<BTreeSet<Bytes>>,
}

/// What one watcher saw, over all its reconnects.
#[derive(Clone, Debug)]
pub struct Watched {
    pub name: String,
    pub range: KeyRange,
    pub prev_kv: bool,
    /// Kinds of changes that it does not want to see.
    pub no_put: bool,
    pub no_delete: bool,
    /// The first revision that was asked for.
    pub start: i64,
    /// Every response with events: its header's revision and the events.
    pub responses: Vec<(i64, Vec<KeyChange>)>,
    /// When each of them came.
    pub came: Vec<Duration>,
    /// The header's revision of each response without events, and how many with events came
    /// before it.
    pub progress: Vec<(usize, i64)>,
    /// What it was refused because of compactions, and went on behind.
    pub gaps: Vec<Gap>,
}

/// A watch that was canceled because what it asked for is compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first revision that was asked for.
    pub asked: i64,
    /// The first one that can be had, as the watcher was told.
    pub compacted: i64,
    pub at: Duration,
}

impl Watched {
    /// Nothing seen yet, of all changes from `start` on.
    pub fn new(name: &str, range: KeyRange, start: i64) -> Watched {
        Watched {
            name: name.to_owned(),
            range,
            prev_kv: false,
            no_put: false,
            no_delete: false,
            start,
            responses: Vec::new(),
            came: Vec::new(),
            progress: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// Drops what came after the end of the history: a write of unknown outcome may take effect
    /// even then.
    pub fn forget_after(&mut self, last: i64) {
        for (_, events) in &mut self.responses {
            events.retain(|change| change.kv.mod_revision <= last);
        }
        let mut kept = self.responses.iter().map(|(_, events)| !events.is_empty());
        self.came.retain(|_| kept.next().unwrap_or(false));
        self.responses.retain(|(_, events)| !events.is_empty());
        let kept = self.responses.len();
        self.progress
            .iter_mut()
            .for_each(|(after, _)| *after = (*after).min(kept));
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (called, ended) = (self.called.as_secs_f64(), self.ended.as_secs_f64());
        write!(f, "client {} at member {}", self.client, self.member + 1)?;
        write!(f, " [{called:.3}s, {ended:.3}s] {} -> ", self.request)?;
        match &self.outcome {
            Outcome::Done { revision, reply } => write!(f, "revision {revision}, {reply}"),
            Outcome::Refused(why) => write!(f, "refused: {why}"),
            Outcome::Failed(why) => write!(f, "failed: {why}"),
            Outcome::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// A value longer than this is told by its beginning.
const REPORTED_MAX: usize = 160;

/// A key or value as text.
pub fn text(bytes: &[u8]) -> String {
    match bytes.get(..REPORTED_MAX) {
        Some(start) if bytes.len() > REPORTED_MAX => {
            format!("{}...({} bytes)", start.escape_ascii(), bytes.len())
        }
        _ => bytes.escape_ascii().to_string(),
    }
}

/// The number of "number anything", as clients write it who take turns or keep accounts.
pub fn first_number<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(value).ok()?;
    text.split(' ').next()?.parse().ok()
}

struct Range<'a>(&'a KeyRange);

impl fmt::Display for Range<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            KeyRange::One(key) => f.write_str(&text(key)),
            KeyRange::Span { start, end: None } => write!(f, "[{}, ...)", text(start)),
            KeyRange::Span {
                start,
                end: Some(end),
            } => {
                write!(f, "[{}, {})", text(start), text(end))
            }
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Range(range) => write_range(f, range),
            Request::Put(put) => write_put(f, put),
            Request::Delete(delete) => write!(f, "delete {}", Range(&delete.range)),
            Request::Txn(txn) => write_txn(f, txn),
            Request::LeaseGrant { id, ttl } => write!(f, "grant lease {:x} for {ttl} s", id.0),
            Request::LeaseRevoke { id } => write!(f, "revoke lease {:x}", id.0),
            Request::Compact(compact) => {
                let how = if compact.physical { " physically" } else { "" };
                write!(f, "compact to revision {}{how}", compact.revision)
            }
        }
    }
}

fn write_range(f: &mut fmt::Formatter<'_>, range: &RangeRequest) -> fmt::Result {
    write!(f, "get {}", Range(&range.range))?;
    let numbers = [
        (" at revision", range.revision),
        (" limit", range.limit),
        (" mod >=", range.min_mod_revision),
        (" mod <=", range.max_mod_revision),
        (" create >=", range.min_create_revision),
        (" create <=", range.max_create_revision),
    ];
    for (word, number) in numbers.into_iter().filter(|(_, number)| *number != 0) {
        write!(f, "{word} {number}")?;
    }
    if range.sort_order != SortOrder::None || range.sort_target != SortTarget::Key {
        let target = match range.sort_target {
            SortTarget::Key => "key",
            SortTarget::Version => "version",
            SortTarget::Create => "create",
            SortTarget::Mod => "mod",
            SortTarget::Value => "value",
        };
        let order = match range.sort_order {
            SortOrder::None => "",
            SortOrder::Ascend => " up",
            SortOrder::Descend => " down",
        };
        write!(f, " by {target}{order}")?;
    }
    let words = [
        (" keys only", range.keys_only),
        (" count only", range.count_only),
        (" serializable", range.serializable),
    ];
    let mut words = words.into_iter().filter(|(_, is_asked)| *is_asked);
    words.try_for_each(|(word, _)| f.write_str(word))
}

fn write_put(f: &mut fmt::Formatter<'_>, put: &PutRequest) -> fmt::Result {
    write!(f, "put {}={}", text(&put.key), text(&put.value))?;
    if put.lease == LeaseId::NONE {
        Ok(())
    } else {
        write!(f, " lease {:x}", put.lease.0)
    }
}

fn write_txn(f: &mut fmt::Formatter<'_>, txn: &TxnRequest) -> fmt::Result {
    f.write_str("txn if")?;
    for compare in &txn.compare {
        write!(f, " {} ", Range(&compare.range))?;
        write_condition(f, compare)?;
    }
    for (word, ops) in [("then", &txn.success), ("else", &txn.failure)] {
        write!(f, " {word}")?;
        for op in ops {
            f.write_str(" (")?;
            match op {
                Op::Range(range) => write_range(f, range)?,
                Op::Put(put) => write_put(f, put)?,
                Op::DeleteRange(delete) => write!(f, "delete {}", Range(&delete.range))?,
                Op::Txn(txn) => write_txn(f, txn)?,
            }
            f.write_str(")")?;
        }
    }
    Ok(())
}

fn write_condition(f: &mut fmt::Formatter<'_>, compare: &Compare) -> fmt::Result {
    let op = match compare.op {
        CompareOp::Equal => "=",
        CompareOp::NotEqual => "!=",
        CompareOp::Less => "<",
        CompareOp::Greater => ">",
    };
    match &compare.target {
        CompareTarget::Version(version) => write!(f, "version {op} {version}"),
        CompareTarget::Create(revision) => write!(f, "create {op} {revision}"),
        CompareTarget::Mod(revision) => write!(f, "mod {op} {revision}"),
        CompareTarget::Value(value) => write!(f, "value {op} {}", text(value)),
        CompareTarget::Lease(lease) => write!(f, "lease {op} {:x}", lease.0),
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Range(range) => write_found(f, range),
            Reply::Put(_) => f.write_str("put"),
            Reply::Delete(delete) => write!(f, "{} deleted", delete.deleted),
            Reply::Txn(txn) => write_did(f, txn),
            Reply::LeaseGrant { id, ttl } => write!(f, "granted {:x} for {ttl} s", id.0),
            Reply::LeaseRevoke => f.write_str("revoked"),
            Reply::Compact => f.write_str("compacted"),
        }
    }
}

fn write_found(f: &mut fmt::Formatter<'_>, range: &RangeReply) -> fmt::Result {
    write!(f, "{} keys:", range.count)?;
    for kv in &range.kvs {
        let (key, value) = (text(&kv.key), text(&kv.value));
        write!(f, " {key}={value}@{}", kv.mod_revision)?;
    }
    f.write_str(if range.more { " and more" } else { "" })
}

fn write_did(f: &mut fmt::Formatter<'_>, txn: &TxnReply) -> fmt::Result {
    write!(f, "succeeded: {}", txn.succeeded)?;
    for response in &txn.responses {
        f.write_str(" (")?;
        match response {
            OpReply::Range(range) => write_found(f, range)?,
            OpReply::Put(_) => f.write_str("put")?,
            OpReply::DeleteRange(delete) => write!(f, "{} deleted", delete.deleted)?,
            OpReply::Txn(txn) => write_did(f, txn)?,
        }
        f.write_str(")")?;
    }
    Ok(())
}
