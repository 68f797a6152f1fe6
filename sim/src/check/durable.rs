//! Every acknowledged write is in the final state, or was replaced by a later one.

use super::Finding;
use crate::history::{History, Operation, Reply, Request, Revisions, taken, text};
use crate::model::State;
use bytes::Bytes;
use detcd_core::api::{KeyValue, Op, OpReply, TxnReply, TxnRequest};
use std::collections::{BTreeMap, BTreeSet};

/// How many keys that differ are reported; a lost tail of the log takes many with it.
const DIFFERENCES_MAX: usize = 5;

pub fn check(history: &History) -> Vec<Finding> {
    let mut applied = State::empty();
    for changes in history.revisions.values() {
        applied.advance(changes);
    }
    let mut findings = Vec::new();
    let reported = history.run_facts.keys.as_ref();
    if let Some(reported) = reported {
        findings.extend(differences(&applied, reported).take(DIFFERENCES_MAX));
    }
    let last = |key: &Bytes| match reported {
        Some(reported) => reported.get(key),
        None => applied.keys.get(key),
    };
    for operation in &history.operations {
        let Some((revision, reply)) = operation.done() else {
            continue;
        };
        for (key, value) in put(&operation.request, reply) {
            if let Some(why) = missing(last(&key), history, &key, &value, revision) {
                findings.push(lost(&why, operation));
            }
        }
        if let Reply::Delete(delete) = reply
            && delete.deleted > 0
            && !history.revisions.contains_key(&revision)
        {
            findings.push(lost("its revision is gone", operation));
        }
    }
    findings
}

/// Where a healed member's history, told from revision `from` on, is not what was applied.
pub fn retold(
    member: usize,
    reported: &Revisions,
    applied: &Revisions,
    from: i64,
) -> Option<Finding> {
    let applied_at = applied.range(from..).map(|(at, _)| at);
    let revisions: BTreeSet<i64> = reported.keys().chain(applied_at).copied().collect();
    let mut revisions = revisions.into_iter();
    let at = revisions.find(|at| reported.get(at) != applied.get(at))?;
    let list = |revisions: &Revisions| {
        let changes = revisions.get(&at).into_iter().flatten();
        let changes: Vec<String> = changes.map(ToString::to_string).collect();
        changes.join(", ")
    };
    let what = format!(
        "of revision {at} member {} tells [{}], and [{}] was applied",
        member + 1,
        list(reported),
        list(applied)
    );
    Some(Finding::new(what).member(member).revision(at))
}

/// Where the healed cluster's keys are not those that its members had applied.
fn differences<'a>(
    applied: &'a State,
    reported: &'a BTreeMap<Bytes, KeyValue>,
) -> impl Iterator<Item = Finding> + 'a {
    let keys: BTreeSet<&Bytes> = applied.keys.keys().chain(reported.keys()).collect();
    let different = keys
        .into_iter()
        .filter(|key| applied.keys.get(*key) != reported.get(*key));
    let told_of = |kv: Option<&KeyValue>| match kv {
        Some(kv) => format!("{} at revision {}", text(&kv.value), kv.mod_revision),
        None => "nothing".to_owned(),
    };
    different.map(move |key| {
        let (was, is) = (applied.keys.get(key), reported.get(key));
        let what = format!(
            "{} was last applied as {}, and in the end the cluster tells of {}",
            text(key),
            told_of(was),
            told_of(is)
        );
        let revisions = was.into_iter().chain(is).map(|kv| kv.mod_revision);
        revisions.fold(Finding::new(what), Finding::revision)
    })
}

/// Why an acknowledged value is neither there nor replaced.
fn missing(
    last: Option<&KeyValue>,
    history: &History,
    key: &Bytes,
    value: &Bytes,
    revision: i64,
) -> Option<String> {
    let key_text = text(key);
    match last {
        Some(kv) if kv.mod_revision > revision => None,
        Some(kv) if kv.mod_revision == revision && kv.value == *value => None,
        Some(kv) if kv.mod_revision == revision => Some(format!(
            "{key_text} has at revision {revision} the value {}",
            text(&kv.value)
        )),
        Some(kv) => Some(format!(
            "{key_text} was last written at revision {}",
            kv.mod_revision
        )),
        None => {
            let mut later = history.revisions.range(revision + 1..);
            let deleted =
                later.any(|(_, changes)| changes.iter().any(|change| change.kv.key == *key));
            (!deleted).then(|| format!("{key_text} is not there and was not deleted"))
        }
    }
}

fn lost(why: &str, operation: &Operation) -> Finding {
    let what = format!("an acknowledged write is lost: {why}");
    Finding::new(what).operation(operation)
}

/// The last value that the operation gave to each key for certain.
fn put(request: &Request, reply: &Reply) -> Vec<(Bytes, Bytes)> {
    let mut puts = Vec::new();
    match (request, reply) {
        (Request::Put(put), Reply::Put(_)) if !put.ignore_value => {
            puts.push((put.key.clone(), put.value.clone()));
        }
        (Request::Txn(txn), Reply::Txn(reply)) => puts_of_txn(txn, reply, &mut puts),
        _ => {}
    }
    puts
}

fn puts_of_txn(request: &TxnRequest, reply: &TxnReply, puts: &mut Vec<(Bytes, Bytes)>) {
    for (op, response) in taken(request, reply) {
        match (op, response) {
            (Op::Put(put), _) if !put.ignore_value => {
                puts.push((put.key.clone(), put.value.clone()))
            }
            (Op::DeleteRange(delete), _) => puts.retain(|(key, _)| !delete.range.contains(key)),
            (Op::Txn(txn), OpReply::Txn(reply)) => puts_of_txn(txn, reply, puts),
            _ => {}
        }
    }
}
