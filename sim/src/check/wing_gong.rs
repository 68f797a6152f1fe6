//! Linearizability by search: is there any order of the operations on a key that explains what
//! their clients saw? Looks at values and real time only and never at a revision, so it judges
//! independently of [`super::replay`].
//!
//! The search is Wing and Gong's, with Lowe's caching of (linearized set, state). Each key is
//! searched apart: the projection of a linearizable history to a key is linearizable.
//!
//! Operations of unknown outcome would make the search exponential; these rules keep it narrow.
//! - One is only tried where the operation after it could not stand without it. In an order where
//!   it could, the two change places (if the other only looks) or the unknown one never took
//!   effect (if the other overwrites it).
//! - Of several that could do the same, the one that was called first is used first. Values that
//!   nobody ever saw are the same to everybody.
//! - A value that somebody saw is not overwritten before everybody who saw it had his turn: no
//!   value is written twice, so it would not come back.

use crate::history::{History, Operation, Reply, Request, text};
use bytes::Bytes;
use detcd_core::api::{
    CompareOp, CompareTarget, DeleteRangeReply, DeleteRangeRequest, KeyRange, Op, OpReply,
    PutReply, PutRequest, RangeReply, RangeRequest, TxnReply, TxnRequest,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

/// Steps of the search after which a key is given up. A history that needs more is too wide to be
/// judged, and its scenario is to be changed.
const STEPS_MAX: u64 = 20_000_000;

/// What is wrong with the history, in words; nothing if every key is linearizable.
pub fn check(history: &History) -> Vec<String> {
    let mut problems = Vec::new();
    for key in keys(history) {
        let projected = history.operations.iter();
        let mut operations: Vec<OnKey> = projected
            .filter_map(|operation| project(operation, &key))
            .collect();
        let readers = Readers::new(&operations);
        readers.forget_unseen(&mut operations);
        match search(&operations, &readers) {
            Verdict::Linearizable => {}
            Verdict::TooWide => problems.push(format!(
                "key {}: {} operations are too wide for the search",
                text(&key),
                operations.len()
            )),
            Verdict::Not { stuck_at } => problems.push(format!(
                "key {}: no order of its operations explains their answers; the search got no \
                 further than\n    {stuck_at}",
                text(&key)
            )),
        }
    }
    problems
}

/// A key's value, as far as this check cares.
type Value = Option<Bytes>;

/// An operation as one key sees it.
struct OnKey<'a> {
    operation: &'a Operation,
    called: Duration,
    /// `None` if it is not known to have ended.
    returned: Option<Duration>,
    /// What it may have done: known outcomes have one way, unknown ones several.
    ways: Vec<Vec<Act>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Act {
    /// The key had this value.
    Is(Value),
    /// The key was there, or was not.
    Exists(bool),
    /// The key's value was another (or it was not there).
    IsNot(Bytes),
    Set(Value),
}

fn run(acts: &[Act], state: &Value) -> Option<Value> {
    let mut state = state.clone();
    for act in acts {
        match act {
            Act::Is(value) if *value == state => {}
            Act::Exists(exists) if *exists == state.is_some() => {}
            Act::IsNot(value) if state.as_ref() != Some(value) => {}
            Act::Set(value) => state = value.clone(),
            Act::Is(_) | Act::Exists(_) | Act::IsNot(_) => return None,
        }
    }
    Some(state)
}

/// Who saw which value.
struct Readers {
    /// The operations of known outcome that saw each value before they did anything themselves.
    by_value: BTreeMap<Bytes, Vec<usize>>,
    /// Every value that any operation saw, or may have compared with.
    seen: BTreeSet<Bytes>,
}

impl Readers {
    fn new(operations: &[OnKey<'_>]) -> Readers {
        let mut readers = Readers {
            by_value: BTreeMap::new(),
            seen: BTreeSet::new(),
        };
        for (index, operation) in operations.iter().enumerate() {
            let acts = operation.ways.iter().flatten();
            readers.seen.extend(acts.filter_map(|act| match act {
                Act::Is(Some(value)) | Act::IsNot(value) => Some(value.clone()),
                Act::Is(None) | Act::Exists(_) | Act::Set(_) => None,
            }));
            let [only] = &operation.ways[..] else {
                continue;
            };
            let before = only.iter().take_while(|act| !matches!(act, Act::Set(_)));
            for act in before {
                if let Act::Is(Some(value)) = act
                    && operation.returned.is_some()
                {
                    readers
                        .by_value
                        .entry(value.clone())
                        .or_default()
                        .push(index);
                }
            }
        }
        let mut written = BTreeSet::new();
        let acts = operations
            .iter()
            .flat_map(|operation| operation.ways.iter().flatten());
        for act in acts {
            if let Act::Set(Some(value)) = act
                && !written.insert(value.clone())
            {
                // It may come back, so nobody's turn is ever over.
                readers.by_value.remove(value);
            }
        }
        readers
    }

    /// Gives all values that nobody saw the same name.
    fn forget_unseen(&self, operations: &mut [OnKey<'_>]) {
        let unknown = operations
            .iter_mut()
            .filter(|operation| operation.returned.is_none());
        for act in unknown.flat_map(|operation| operation.ways.iter_mut().flatten()) {
            if let Act::Set(Some(value)) = act
                && !self.seen.contains(value)
            {
                *value = Bytes::from_static(b"(never seen)");
            }
        }
    }

    /// Whether someone other than `operation` still waits to see the place's value.
    fn wait_for(&self, place: &Place, operation: usize) -> bool {
        let readers = place
            .state
            .as_ref()
            .and_then(|value| self.by_value.get(value));
        readers.is_some_and(|readers| {
            let mut waiting = readers.iter();
            waiting.any(|reader| *reader != operation && !place.has(*reader))
        })
    }
}

enum Verdict<'a> {
    Linearizable,
    TooWide,
    Not { stuck_at: &'a Operation },
}

/// A place in the list of calls and returns, in order of time; zero is the head.
#[derive(Clone, Copy)]
struct Node {
    operation: usize,
    is_call: bool,
    previous: usize,
    next: usize,
}

/// The doubly linked list of calls and returns.
struct List {
    nodes: Vec<Node>,
    /// Where each operation's call and return stand.
    calls: Vec<usize>,
    returns: Vec<Option<usize>>,
}

const HEAD: usize = 0;

impl List {
    fn new(operations: &[OnKey<'_>]) -> List {
        let mut moments: Vec<(Duration, bool, usize)> = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            moments.push((operation.called, false, index));
            if let Some(returned) = operation.returned {
                moments.push((returned, true, index));
            }
        }
        // At one moment calls come before returns: such operations overlap.
        moments.sort_unstable();
        let head = Node {
            operation: 0,
            is_call: false,
            previous: HEAD,
            next: HEAD,
        };
        let mut list = List {
            nodes: vec![head],
            calls: vec![HEAD; operations.len()],
            returns: vec![None; operations.len()],
        };
        for (_, is_return, operation) in moments {
            let at = list.nodes.len();
            let previous = list.nodes[HEAD].previous;
            list.nodes.push(Node {
                operation,
                is_call: !is_return,
                previous,
                next: HEAD,
            });
            list.nodes[previous].next = at;
            list.nodes[HEAD].previous = at;
            if is_return {
                list.returns[operation] = Some(at);
            } else {
                list.calls[operation] = at;
            }
        }
        list
    }

    fn take(&mut self, at: usize) {
        let Node { previous, next, .. } = self.nodes[at];
        self.nodes[previous].next = next;
        self.nodes[next].previous = previous;
    }

    fn put_back(&mut self, at: usize) {
        let Node { previous, next, .. } = self.nodes[at];
        self.nodes[previous].next = at;
        self.nodes[next].previous = at;
    }

    fn lift(&mut self, operation: usize) {
        self.take(self.calls[operation]);
        if let Some(at) = self.returns[operation] {
            self.take(at);
        }
    }

    fn unlift(&mut self, operation: usize) {
        if let Some(at) = self.returns[operation] {
            self.put_back(at);
        }
        self.put_back(self.calls[operation]);
    }
}

/// Where the search stands.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    /// A bit for each operation.
    linearized: Vec<u64>,
    state: Value,
    /// The state before the last operation, if that one's outcome is unknown.
    without_last: Option<Value>,
}

impl Place {
    fn has(&self, operation: usize) -> bool {
        self.linearized[operation / 64] >> (operation % 64) & 1 == 1
    }

    /// The place after this way of this operation; `None` if it cannot be the next.
    fn step(
        &self,
        operation: usize,
        acts: &[Act],
        is_unknown: bool,
        readers: &Readers,
    ) -> Option<Place> {
        let state = run(acts, &self.state)?;
        if state != self.state && readers.wait_for(self, operation) {
            return None;
        }
        let needless = |before: &Value| run(acts, before).is_some();
        if self.without_last.as_ref().is_some_and(needless) {
            return None;
        }
        let mut linearized = self.linearized.clone();
        linearized[operation / 64] |= 1 << (operation % 64);
        let without_last = is_unknown.then(|| self.state.clone());
        Some(Place {
            linearized,
            state,
            without_last,
        })
    }
}

/// A step back, to the operation and the way of it that was tried.
struct Tried {
    operation: usize,
    way: usize,
    before: Place,
}

/// For each operation of unknown outcome, the one called before it that can do the same.
fn twins(operations: &[OnKey<'_>]) -> Vec<Option<usize>> {
    let mut by_call: Vec<usize> = (0..operations.len())
        .filter(|index| operations[*index].returned.is_none())
        .collect();
    by_call.sort_by_key(|index| operations[*index].called);
    let mut twins = vec![None; operations.len()];
    for (place, index) in by_call.iter().enumerate() {
        let earlier = by_call[..place].iter().rev();
        let mut same = earlier.filter(|other| operations[**other].ways == operations[*index].ways);
        twins[*index] = same.next().copied();
    }
    twins
}

fn search<'a>(operations: &[OnKey<'a>], readers: &Readers) -> Verdict<'a> {
    let mut list = List::new(operations);
    let twins = twins(operations);
    let mut open_returns = list.returns.iter().flatten().count();
    let mut place = Place {
        linearized: vec![0; operations.len().div_ceil(64)],
        state: None,
        without_last: None,
    };
    let mut seen: HashSet<Place> = HashSet::new();
    let mut tried: Vec<Tried> = Vec::new();
    let mut furthest = (0, None);
    let (mut at, mut way) = (list.nodes[HEAD].next, 0);
    for _ in 0..STEPS_MAX {
        if open_returns == 0 {
            return Verdict::Linearizable;
        }
        // Unknown operations have no returns, so a return is met before the end of the list.
        assert!(at != HEAD, "a return is left in the list");
        let Node {
            operation,
            is_call,
            next,
            ..
        } = list.nodes[at];
        if is_call {
            let waits = twins[operation].is_some_and(|twin| !place.has(twin));
            let Some(acts) = operations[operation].ways.get(way).filter(|_| !waits) else {
                (at, way) = (next, 0);
                continue;
            };
            let is_unknown = list.returns[operation].is_none();
            match place.step(operation, acts, is_unknown, readers) {
                Some(after) if seen.insert(after.clone()) => {
                    let before = std::mem::replace(&mut place, after);
                    tried.push(Tried {
                        operation,
                        way,
                        before,
                    });
                    list.lift(operation);
                    open_returns -= usize::from(!is_unknown);
                    (at, way) = (list.nodes[HEAD].next, 0);
                }
                Some(_) | None => way += 1,
            }
            continue;
        }
        if tried.len() >= furthest.0 {
            furthest = (tried.len(), Some(operation));
        }
        let Some(back) = tried.pop() else {
            let stuck_at = operations[furthest.1.unwrap_or(operation)].operation;
            return Verdict::Not { stuck_at };
        };
        place = back.before;
        list.unlift(back.operation);
        open_returns += usize::from(list.returns[back.operation].is_some());
        (at, way) = (list.calls[back.operation], back.way + 1);
    }
    Verdict::TooWide
}

/// Every key that a history names by itself.
fn keys(history: &History) -> BTreeSet<Bytes> {
    fn of_range(range: &KeyRange, keys: &mut BTreeSet<Bytes>) {
        if let KeyRange::One(key) = range {
            keys.insert(key.clone());
        }
    }
    fn of_txn(txn: &TxnRequest, keys: &mut BTreeSet<Bytes>) {
        txn.compare
            .iter()
            .for_each(|compare| of_range(&compare.range, keys));
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                Op::Range(range) => of_range(&range.range, keys),
                Op::Put(put) => drop(keys.insert(put.key.clone())),
                Op::DeleteRange(delete) => of_range(&delete.range, keys),
                Op::Txn(txn) => of_txn(txn, keys),
            }
        }
    }
    let mut keys = BTreeSet::new();
    for operation in &history.operations {
        match &operation.request {
            Request::Range(range) => of_range(&range.range, &mut keys),
            Request::Put(put) => drop(keys.insert(put.key.clone())),
            Request::Delete(delete) => of_range(&delete.range, &mut keys),
            Request::Txn(txn) => of_txn(txn, &mut keys),
            Request::LeaseGrant { .. } | Request::LeaseRevoke { .. } | Request::Compact(_) => {}
        }
    }
    // What a lease deletes is nobody's operation here: its keys cannot be judged.
    keys.retain(|key| {
        !history
            .operations
            .iter()
            .any(|operation| leases(&operation.request, key))
    });
    keys
}

/// Whether the request attaches the key to a lease.
fn leases(request: &Request, key: &Bytes) -> bool {
    fn in_ops(ops: &[Op], key: &Bytes) -> bool {
        ops.iter().any(|op| match op {
            Op::Put(put) => put.key == *key && put.lease.0 != 0,
            Op::Txn(txn) => in_ops(&txn.success, key) || in_ops(&txn.failure, key),
            Op::Range(_) | Op::DeleteRange(_) => false,
        })
    }
    match request {
        Request::Put(put) => put.key == *key && put.lease.0 != 0,
        Request::Txn(txn) => in_ops(&txn.success, key) || in_ops(&txn.failure, key),
        _ => false,
    }
}

/// The operation as this key sees it; `None` if it says nothing about the key.
fn project<'a>(operation: &'a Operation, key: &Bytes) -> Option<OnKey<'a>> {
    if operation.request.is_serializable() {
        return None;
    }
    let ways = match operation.done() {
        Some((_, reply)) => vec![known(&operation.request, reply, key)],
        None if operation.returned().is_some() => return None,
        None => {
            let mut ways = possible(&operation.request, key);
            // One that changed nothing is as good as one that never was.
            ways.retain(|acts| acts.iter().any(|act| matches!(act, Act::Set(_))));
            ways
        }
    };
    let says_something = ways.iter().any(|acts| !acts.is_empty());
    says_something.then(|| OnKey {
        operation,
        called: operation.called,
        returned: operation.returned(),
        ways,
    })
}

fn known(request: &Request, reply: &Reply, key: &Bytes) -> Vec<Act> {
    let mut acts = Vec::new();
    match (request, reply) {
        (Request::Range(range), Reply::Range(reply)) => ranged(range, reply, key, &mut acts),
        (Request::Put(put), Reply::Put(reply)) => did_put(put, Some(reply), key, &mut acts),
        (Request::Delete(delete), Reply::Delete(reply)) => {
            deleted(delete, Some(reply), key, &mut acts);
        }
        (Request::Txn(txn), Reply::Txn(reply)) => did_txn(txn, reply, key, &mut acts),
        _ => {}
    }
    acts
}

fn ranged(request: &RangeRequest, reply: &RangeReply, key: &Bytes, acts: &mut Vec<Act>) {
    let beyond_limit = reply.more && reply.kvs.last().is_none_or(|last| last.key < *key);
    let tells = request.revision == 0 && !request.keys_only && !request.count_only;
    if tells && !beyond_limit && request.range.contains(key) {
        let found = reply.kvs.iter().find(|kv| kv.key == *key);
        acts.push(Act::Is(found.map(|kv| kv.value.clone())));
    }
}

fn did_put(request: &PutRequest, reply: Option<&PutReply>, key: &Bytes, acts: &mut Vec<Act>) {
    if request.key != *key {
        return;
    }
    if let Some(reply) = reply.filter(|_| request.prev_kv) {
        acts.push(Act::Is(reply.prev_kv.as_ref().map(|kv| kv.value.clone())));
    }
    if request.ignore_value {
        acts.push(Act::Exists(true));
    } else {
        acts.push(Act::Set(Some(request.value.clone())));
    }
}

fn deleted(
    request: &DeleteRangeRequest,
    reply: Option<&DeleteRangeReply>,
    key: &Bytes,
    acts: &mut Vec<Act>,
) {
    if !request.range.contains(key) {
        return;
    }
    if let Some(reply) = reply {
        if request.prev_kv {
            let before = reply.prev_kvs.iter().find(|kv| kv.key == *key);
            acts.push(Act::Is(before.map(|kv| kv.value.clone())));
        } else if matches!(request.range, KeyRange::One(_)) {
            acts.push(Act::Exists(reply.deleted > 0));
        }
    }
    acts.push(Act::Set(None));
}

fn did_txn(request: &TxnRequest, reply: &TxnReply, key: &Bytes, acts: &mut Vec<Act>) {
    compared(request, reply.succeeded, key, acts);
    let ops = if reply.succeeded {
        &request.success
    } else {
        &request.failure
    };
    for (op, response) in ops.iter().zip(&reply.responses) {
        match (op, response) {
            (Op::Range(range), OpReply::Range(reply)) => ranged(range, reply, key, acts),
            (Op::Put(put), OpReply::Put(reply)) => did_put(put, Some(reply), key, acts),
            (Op::DeleteRange(delete), OpReply::DeleteRange(reply)) => {
                deleted(delete, Some(reply), key, acts);
            }
            (Op::Txn(txn), OpReply::Txn(reply)) => did_txn(txn, reply, key, acts),
            _ => {}
        }
    }
}

/// What the outcome of the comparisons says about the key. One that failed among several could be
/// any of them.
fn compared(request: &TxnRequest, succeeded: bool, key: &Bytes, acts: &mut Vec<Act>) {
    if !succeeded && request.compare.len() > 1 {
        return;
    }
    for compare in request
        .compare
        .iter()
        .filter(|compare| compare.range == KeyRange::One(key.clone()))
    {
        match (&compare.target, compare.op, succeeded) {
            (CompareTarget::Value(value), CompareOp::Equal, true) => {
                acts.push(Act::Is(Some(value.clone())));
            }
            (CompareTarget::Value(value), CompareOp::Equal, false)
            | (CompareTarget::Value(value), CompareOp::NotEqual, true) => {
                acts.push(Act::IsNot(value.clone()));
            }
            (CompareTarget::Version(0) | CompareTarget::Create(0), CompareOp::Equal, _) => {
                acts.push(Act::Exists(!succeeded));
            }
            _ => {}
        }
    }
}

/// What a write of unknown outcome may have done, if it took effect.
fn possible(request: &Request, key: &Bytes) -> Vec<Vec<Act>> {
    let mut acts = Vec::new();
    match request {
        Request::Put(put) => did_put(put, None, key, &mut acts),
        Request::Delete(delete) => deleted(delete, None, key, &mut acts),
        Request::Txn(txn) if !txn.is_read_only() => return possible_txn(txn, key),
        Request::Txn(_)
        | Request::Range(_)
        | Request::LeaseGrant { .. }
        | Request::LeaseRevoke { .. }
        | Request::Compact(_) => {}
    }
    vec![acts]
}

fn possible_txn(request: &TxnRequest, key: &Bytes) -> Vec<Vec<Act>> {
    let mut ways = Vec::new();
    for (succeeded, ops) in [(true, &request.success), (false, &request.failure)] {
        let mut acts = Vec::new();
        compared(request, succeeded, key, &mut acts);
        let mut branches = vec![acts];
        for op in ops {
            match op {
                Op::Range(_) => {}
                Op::Put(put) => {
                    branches
                        .iter_mut()
                        .for_each(|acts| did_put(put, None, key, acts));
                }
                Op::DeleteRange(delete) => {
                    branches
                        .iter_mut()
                        .for_each(|acts| deleted(delete, None, key, acts));
                }
                Op::Txn(txn) => {
                    let inner = possible_txn(txn, key);
                    let joined = |acts: &Vec<Act>| {
                        let acts = acts.clone();
                        inner
                            .iter()
                            .map(move |more| [acts.clone(), more.clone()].concat())
                    };
                    branches = branches.iter().flat_map(joined).collect();
                }
            }
        }
        ways.extend(branches);
    }
    ways
}
