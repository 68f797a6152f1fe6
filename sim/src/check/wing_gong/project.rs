//! What an operation says about one key.

use crate::history::{History, Operation, Reply, Request, taken};
use bytes::Bytes;
use detcd_core::api::{
    CompareOp, CompareTarget, DeleteRangeReply, DeleteRangeRequest, KeyRange, Op, OpReply,
    PutReply, PutRequest, RangeReply, RangeRequest, SortOrder, SortTarget, TxnReply, TxnRequest,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A key's value, as far as this check cares.
pub type Value = Option<Bytes>;

/// An operation as one key sees it.
pub struct OnKey<'a> {
    pub operation: &'a Operation,
    pub called: Duration,
    /// `None` if it is not known to have ended.
    pub returned: Option<Duration>,
    /// What it may have done: known outcomes have one way, unknown ones several.
    pub ways: Vec<Vec<Act>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The key had this value.
    Is(Value),
    /// The key was there, or was not.
    Exists(bool),
    /// The key's value was another (or it was not there).
    IsNot(Bytes),
    Set(Value),
}

pub fn run(acts: &[Act], state: &Value) -> Option<Value> {
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

/// Every key that a history names by itself, with the operations that may say something of it, in
/// their order.
pub fn by_key(history: &History) -> BTreeMap<Bytes, Vec<&Operation>> {
    let mut names = Names::default();
    let mut named: BTreeMap<Bytes, Vec<usize>> = BTreeMap::new();
    let mut ranged: Vec<usize> = Vec::new();
    for (index, operation) in history.operations.iter().enumerate() {
        names.keys.clear();
        names.has_span = false;
        names.of_request(&operation.request);
        for key in &names.keys {
            named.entry(key.clone()).or_default().push(index);
        }
        if names.has_span {
            ranged.push(index);
        }
    }
    // What a lease deletes is nobody's operation here: its keys cannot be judged.
    named.retain(|key, _| !names.leased.contains(key));
    let operations = named.into_iter().map(|(key, mut indexes)| {
        indexes.extend(&ranged);
        indexes.sort_unstable();
        indexes.dedup();
        let operations = indexes.into_iter().map(|index| &history.operations[index]);
        (key, operations.collect())
    });
    operations.collect()
}

/// The keys that requests name.
#[derive(Default)]
struct Names {
    keys: BTreeSet<Bytes>,
    /// A range of several keys was named.
    has_span: bool,
    /// Keys that any request attaches to a lease.
    leased: BTreeSet<Bytes>,
}

impl Names {
    fn of_request(&mut self, request: &Request) {
        match request {
            Request::Range(range) => self.of_range(&range.range),
            Request::Put(put) => self.of_put(put),
            Request::Delete(delete) => self.of_range(&delete.range),
            Request::Txn(txn) => self.of_txn(txn),
            Request::LeaseGrant { .. } | Request::LeaseRevoke { .. } | Request::Compact(_) => {}
        }
    }

    fn of_range(&mut self, range: &KeyRange) {
        match range {
            KeyRange::One(key) => drop(self.keys.insert(key.clone())),
            KeyRange::Span { .. } => self.has_span = true,
        }
    }

    fn of_put(&mut self, put: &PutRequest) {
        self.keys.insert(put.key.clone());
        if put.lease.0 != 0 {
            self.leased.insert(put.key.clone());
        }
    }

    fn of_txn(&mut self, txn: &TxnRequest) {
        txn.compare
            .iter()
            .for_each(|compare| self.of_range(&compare.range));
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                Op::Range(range) => self.of_range(&range.range),
                Op::Put(put) => self.of_put(put),
                Op::DeleteRange(delete) => self.of_range(&delete.range),
                Op::Txn(txn) => self.of_txn(txn),
            }
        }
    }
}

/// The operation as this key sees it; `None` if it says nothing about the key.
pub fn project<'a>(operation: &'a Operation, key: &Bytes) -> Option<OnKey<'a>> {
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
    let is_filtered = request.min_mod_revision > 0
        || request.max_mod_revision > 0
        || request.min_create_revision > 0
        || request.max_create_revision > 0;
    let is_sorted = request.sort_order != SortOrder::None || request.sort_target != SortTarget::Key;
    let tells = request.revision == 0
        && !request.keys_only
        && !request.count_only
        && !is_filtered
        && !is_sorted;
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

/// Comparisons see what was there before the whole transaction, wherever in it they stand.
fn did_txn(request: &TxnRequest, reply: &TxnReply, key: &Bytes, acts: &mut Vec<Act>) {
    compared_in_depth(request, reply, key, acts);
    did_ops(request, reply, key, acts);
}

fn compared_in_depth(request: &TxnRequest, reply: &TxnReply, key: &Bytes, acts: &mut Vec<Act>) {
    compared(request, reply.succeeded, key, acts);
    for (op, response) in taken(request, reply) {
        if let (Op::Txn(txn), OpReply::Txn(reply)) = (op, response) {
            compared_in_depth(txn, reply, key, acts);
        }
    }
}

fn did_ops(request: &TxnRequest, reply: &TxnReply, key: &Bytes, acts: &mut Vec<Act>) {
    for (op, response) in taken(request, reply) {
        match (op, response) {
            (Op::Range(range), OpReply::Range(reply)) => ranged(range, reply, key, acts),
            (Op::Put(put), OpReply::Put(reply)) => did_put(put, Some(reply), key, acts),
            (Op::DeleteRange(delete), OpReply::DeleteRange(reply)) => {
                deleted(delete, Some(reply), key, acts);
            }
            (Op::Txn(txn), OpReply::Txn(reply)) => did_ops(txn, reply, key, acts),
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
        Request::Txn(txn) if !txn.is_read_only() => {
            let ways = possible_txn(txn, key).into_iter();
            return ways.map(|(found, done)| [found, done].concat()).collect();
        }
        Request::Txn(_)
        | Request::Range(_)
        | Request::LeaseGrant { .. }
        | Request::LeaseRevoke { .. }
        | Request::Compact(_) => {}
    }
    vec![acts]
}

/// For each way through the branches, what its comparisons find and what it does.
fn possible_txn(request: &TxnRequest, key: &Bytes) -> Vec<(Vec<Act>, Vec<Act>)> {
    let mut ways = Vec::new();
    for (succeeded, ops) in [(true, &request.success), (false, &request.failure)] {
        let mut acts = Vec::new();
        compared(request, succeeded, key, &mut acts);
        let mut branches = vec![(acts, Vec::new())];
        for op in ops {
            match op {
                Op::Range(_) => {}
                Op::Put(put) => {
                    branches
                        .iter_mut()
                        .for_each(|(_, acts)| did_put(put, None, key, acts));
                }
                Op::DeleteRange(delete) => {
                    branches
                        .iter_mut()
                        .for_each(|(_, acts)| deleted(delete, None, key, acts));
                }
                Op::Txn(txn) => {
                    let inner = possible_txn(txn, key);
                    let joined = |(found, done): &(Vec<Act>, Vec<Act>)| {
                        let (found, done) = (found.clone(), done.clone());
                        inner.iter().map(move |(more_found, more_done)| {
                            let found = [&found[..], more_found].concat();
                            (found, [&done[..], more_done].concat())
                        })
                    };
                    branches = branches.iter().flat_map(joined).collect();
                }
            }
        }
        ways.extend(branches);
    }
    ways
}
