//! What a group of keys was seen to be: at every revision of the store, and in every read of all
//! of them.

use super::Finding;
use crate::history::{History, Operation, Reply, Request, taken};
use crate::model::State;
use bytes::Bytes;
use detcd_core::api::{KeyRange, Op, OpReply, RangeReply, RangeRequest, TxnReply, TxnRequest};
use std::collections::BTreeMap;

/// The keys of the group and their values.
pub type Group = BTreeMap<Bytes, Bytes>;

/// How many problems are reported; the rest follows from them.
const REPORTED_MAX: usize = 3;

/// Has every sight of the group judged, from its first revision on.
pub fn judge(
    history: &History,
    range: &KeyRange,
    is_right: impl Fn(&Group) -> Result<(), String>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut state = State::empty();
    let mut first = None;
    for (revision, changes) in &history.revisions {
        state = state.follow(changes);
        if !changes.iter().any(|change| range.contains(&change.kv.key)) {
            continue;
        }
        first.get_or_insert(*revision);
        let kvs = state.keys.iter().filter(|(key, _)| range.contains(key));
        let group = kvs
            .map(|(key, kv)| (key.clone(), kv.value.clone()))
            .collect();
        if let Err(what) = is_right(&group) {
            findings
                .push(Finding::new(format!("at revision {revision} {what}")).revision(*revision));
        }
    }
    for operation in &history.operations {
        for (request, reply) in reads(operation) {
            let is_whole = request.range == *range
                && request.limit == 0
                && !request.keys_only
                && !request.count_only;
            let at = match request.revision {
                0 => operation.done().map_or(0, |(revision, _)| revision),
                at => at,
            };
            if !is_whole || first.is_none_or(|first| at < first) {
                continue;
            }
            let kvs = reply.kvs.iter();
            let group = kvs.map(|kv| (kv.key.clone(), kv.value.clone())).collect();
            if let Err(what) = is_right(&group) {
                findings
                    .push(Finding::new(format!("in what was read {what}")).operation(operation));
            }
        }
    }
    findings.truncate(REPORTED_MAX);
    findings
}

/// Every read of an operation that was answered.
fn reads(operation: &Operation) -> Vec<(&RangeRequest, &RangeReply)> {
    fn of_txn<'a>(
        request: &'a TxnRequest,
        reply: &'a TxnReply,
        reads: &mut Vec<(&'a RangeRequest, &'a RangeReply)>,
    ) {
        for (op, response) in taken(request, reply) {
            match (op, response) {
                (Op::Range(request), OpReply::Range(reply)) => reads.push((request, reply)),
                (Op::Txn(request), OpReply::Txn(reply)) => of_txn(request, reply, reads),
                _ => {}
            }
        }
    }
    let mut reads = Vec::new();
    match (&operation.request, operation.done()) {
        (Request::Range(request), Some((_, Reply::Range(reply)))) => reads.push((request, reply)),
        (Request::Txn(request), Some((_, Reply::Txn(reply)))) => of_txn(request, reply, &mut reads),
        _ => {}
    }
    reads
}

/// A group's histories, for the tests of the checks that use it.
#[cfg(test)]
pub(crate) mod forge {
    use super::*;
    use crate::history::Outcome;
    use crate::workload::ops;
    use std::time::Duration;

    /// A history in which all these values are written together, one after the other, and then
    /// read; the read shows `seen`.
    pub fn history(name: &str, written: &[&[&str]], seen: &[&str]) -> History {
        let key = |number: usize| Bytes::from(format!("{name}/{number:03}"));
        let puts = |values: &[&str]| {
            let puts = values.iter().enumerate();
            let puts = puts.map(|(number, value)| {
                Op::Put(ops::put(
                    &key(number),
                    Bytes::copy_from_slice(value.as_bytes()),
                ))
            });
            Request::Txn(TxnRequest {
                success: puts.collect(),
                ..TxnRequest::default()
            })
        };
        let (mut history, mut state) = (History::default(), State::empty());
        for values in written {
            let step = state.apply(&puts(values));
            state = step.state;
            history.revisions.insert(state.revision, step.changes);
        }
        let mut request = RangeRequest::of(ops::prefix(&format!("{name}/")));
        request.serializable = true;
        let shown = State::empty().apply(&puts(seen)).state;
        let reply = shown.apply(&Request::Range(request.clone())).result;
        history.operations.push(Operation {
            client: 1,
            member: 0,
            called: Duration::ZERO,
            ended: Duration::from_secs(1),
            request: Request::Range(request),
            outcome: Outcome::Done {
                revision: state.revision,
                reply: reply.expect("a read is answered"),
            },
        });
        history
    }
}
