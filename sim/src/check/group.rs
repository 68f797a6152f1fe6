//! What a group of keys was seen to be: at every revision of the store, and in every read of all
//! of them.

use super::{Facts, Finding};
use crate::history::{Operation, Reply, Request, taken};
use bytes::Bytes;
use detcd_core::api::{KeyRange, Op, OpReply, RangeReply, RangeRequest, TxnReply, TxnRequest};
use std::collections::BTreeMap;

/// The keys of the group and their values.
pub type Group = BTreeMap<Bytes, Bytes>;

/// Has every sight of the group judged, from its first revision on.
pub fn judge(
    facts: &Facts<'_>,
    range: &KeyRange,
    is_right: impl Fn(&Group) -> Result<(), String>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut first = None;
    for (revision, changes) in &facts.history.revisions {
        if !changes.iter().any(|change| range.contains(&change.kv.key)) {
            continue;
        }
        first.get_or_insert(*revision);
        let stored = facts.states()[revision].keys.iter();
        let kvs = stored.filter(|(key, _)| range.contains(key));
        let group = kvs
            .map(|(key, kv)| (key.clone(), kv.value.clone()))
            .collect();
        if let Err(what) = is_right(&group) {
            findings
                .push(Finding::new(format!("at revision {revision} {what}")).revision(*revision));
        }
    }
    for operation in &facts.history.operations {
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

/// A history in which all these values are written together, one after the other, and then read; the
/// read shows `seen`. For the tests of the checks that use groups.
#[cfg(test)]
pub(super) fn forged(name: &str, written: &[&[&str]], seen: &[&str]) -> crate::history::History {
    use super::forge;
    let puts = |values: &&[&str]| {
        let puts = values.iter().enumerate().map(|(number, value)| {
            let value = value.replace(' ', "\\x20");
            format!(" ( put {name}/{number:03} {value} )")
        });
        format!("txn then{}", puts.collect::<String>())
    };
    let read = format!("get {name}/..{name}0 serializable");
    let read = forge::did(0.0, 1.0, &[puts(&seen)], read);
    let written: Vec<String> = written.iter().map(puts).collect();
    forge::history(&written, vec![read])
}
