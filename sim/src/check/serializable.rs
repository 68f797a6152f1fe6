//! Serializable reads: each shows some past prefix of the store's history, and a client that stays
//! at one member never sees that member go back.
//!
//! A prefix is past if none of its writes was asked for after the read ended. That a member does
//! not go back is promised for the life of its process only: one that lost unsynced state in a
//! crash starts further back, and catches up.

use super::replay::wrong_answers;
use super::{Facts, Finding};
use crate::history::{History, Operation};
use std::collections::BTreeMap;
use std::time::Duration;

pub fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let history = facts.history;
    let is_serializable = |operation: &&Operation| operation.request.is_serializable();
    let reads: Vec<&Operation> = history.operations.iter().filter(is_serializable).collect();
    let mut found = wrong_answers(history, &reads);
    found.extend(facts.replay().early(&reads));
    found.extend(going_back(history));
    found
}

/// Serializable reads that are older than what the same client saw before at the same member.
fn going_back(history: &History) -> Vec<Finding> {
    let mut newest: BTreeMap<(u32, usize), &Operation> = BTreeMap::new();
    let mut by_call: Vec<&Operation> = history.operations.iter().collect();
    by_call.sort_by_key(|operation| operation.called);
    let mut found = Vec::new();
    for operation in by_call {
        let Some((revision, _)) = operation.done() else {
            continue;
        };
        let session = (operation.client, operation.member);
        let before = newest.get(&session).copied();
        let seen = before.and_then(Operation::done).map_or(0, |(seen, _)| seen);
        if revision >= seen {
            newest.insert(session, operation);
            continue;
        }
        let before = before.expect("a revision was seen");
        let restarted = restarted(history, operation.member, before.called, operation.ended);
        if restarted {
            newest.insert(session, operation);
        } else if operation.request.is_serializable() && before.ended <= operation.called {
            let what = "the client saw the member go back";
            found.push(Finding::new(what).operation(before).operation(operation));
        }
    }
    found
}

fn restarted(history: &History, member: usize, from: Duration, to: Duration) -> bool {
    let starts = history.run_facts.starts.get(&member);
    starts.is_some_and(|starts| starts.iter().any(|at| (from..=to).contains(at)))
}
