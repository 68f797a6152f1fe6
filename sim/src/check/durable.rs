//! Every acknowledged write is in the final state, or was replaced by a later one.

use super::{Check, Finding, Violation};
use crate::history::{History, Operation, Reply, Request, text};
use crate::model::State;
use bytes::Bytes;
use detcd_core::api::{Op, OpReply, TxnReply, TxnRequest};

pub fn check(history: &History) -> Vec<Violation> {
    let last = history
        .revisions
        .values()
        .fold(State::empty(), |state, changes| state.follow(changes));
    let mut violations = Vec::new();
    for operation in &history.operations {
        let Some((revision, reply)) = operation.done() else {
            continue;
        };
        for (key, value) in put(&operation.request, reply) {
            if let Some(why) = missing(&last, history, &key, &value, revision) {
                violations.push(lost(&why, operation));
            }
        }
        if let Reply::Delete(delete) = reply
            && delete.deleted > 0
            && !history.revisions.contains_key(&revision)
        {
            violations.push(lost("its revision is gone", operation));
        }
    }
    violations
}

/// Why an acknowledged value is neither there nor replaced.
fn missing(
    last: &State,
    history: &History,
    key: &Bytes,
    value: &Bytes,
    revision: i64,
) -> Option<String> {
    let key_text = text(key);
    match last.keys.get(key) {
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

fn lost(why: &str, operation: &Operation) -> Violation {
    let what = format!("an acknowledged write is lost: {why}");
    Finding::new(what).operation(operation).of(Check::Durable)
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
    let ops = if reply.succeeded {
        &request.success
    } else {
        &request.failure
    };
    for (op, response) in ops.iter().zip(&reply.responses) {
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
