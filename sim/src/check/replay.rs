//! Linearizability by replay: the store itself says in which order writes took effect, by their
//! revisions. Near linear in the length of the history.
//!
//! The history is linearizable in revision order exactly if
//! - every answered write made the changes of its revision, and answers what the model answers;
//! - every revision that no answered write made is the work of one write of unknown outcome (or of
//!   a lease that ended), each of which is used at most once;
//! - every read shows the model's state at its revision;
//! - the order respects real time: what returned before another began comes before it.
//!
//! Serializable reads are [`super::serializable`]'s.

use super::timeline::Timeline;
use super::{Facts, Finding};
use crate::history::{History, Operation, Reply, Request};
use crate::model::Refusal;
use detcd_core::api::{ChangeKind, KeyChange, LeaseId, Op};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is wrong with the history; nothing if it is linearizable.
pub fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let (history, replay) = (facts.history, facts.replay());
    let mut problems = replay.problems.clone();
    if problems.is_empty() {
        let is_linearizable = |operation: &&Operation| !operation.request.is_serializable();
        let answered: Vec<&Operation> = history.operations.iter().filter(is_linearizable).collect();
        problems.extend(wrong_answers(history, &answered));
        problems.extend(stale(&answered));
        problems.extend(replay.early(&answered));
    }
    problems
}

/// Which operation made which revision.
pub(super) struct Replay<'a> {
    history: &'a History,
    /// The last revision of the store.
    last: i64,
    /// When the write of each revision was called, where that is known.
    pub(super) called: BTreeMap<i64, Duration>,
    /// Revisions that only the end of a lease can have made.
    pub(super) ends: Vec<End>,
    problems: Vec<Finding>,
}

/// The end of a lease, whoever asked for it.
pub(super) struct End {
    pub(super) revision: i64,
    pub(super) lease: LeaseId,
    /// When somebody knew of it, if anybody did.
    pub(super) known: Option<Duration>,
}

impl<'a> Replay<'a> {
    pub(super) fn of(history: &'a History) -> Replay<'a> {
        let mut replay = Replay {
            history,
            last: 1,
            called: BTreeMap::new(),
            ends: Vec::new(),
            problems: Vec::new(),
        };
        for revision in history.revisions.keys() {
            if *revision != replay.last + 1 {
                let last = replay.last;
                let what = format!("after revision {last} comes {revision} in the final state");
                replay.problems.push(Finding::new(what).revision(*revision));
                break;
            }
            replay.last = *revision;
        }
        replay.attribute_revisions();
        replay
    }

    fn attribute_revisions(&mut self) {
        let makers = self.makers();
        let mut timeline = Timeline::of(self.history);
        let mut unexplained: Vec<Unexplained<'a>> = Vec::new();
        let unknown = self.unknown_writes();
        let bounds = self.bounds();
        for (revision, changes) in self.history.revisions.range(..=self.last) {
            let before = timeline.at(revision - 1).expect("there are no gaps");
            if let Some(operation) = makers.get(revision) {
                self.called.insert(*revision, operation.called);
                let (made, _) = before.outcome(&operation.request, &leases_of(&operation.request));
                if !same_changes(&made, changes) {
                    let stored = listed(changes);
                    let what = format!(
                        "an acknowledged write is not what revision {revision} has: [{stored}]"
                    );
                    self.problems.push(Finding::new(what).operation(operation));
                }
                continue;
            }
            // Who observed this revision or a later one, observed it after its write was called.
            let bound = bounds.range(revision..).next().map(|(_, bound)| *bound);
            let could = |operation: &&(usize, &Operation)| {
                bound.is_none_or(|bound| operation.1.called <= bound)
                    && may_make(&operation.1.request, changes)
                    && same_changes(
                        &before
                            .outcome(&operation.1.request, &leases_of(&operation.1.request))
                            .0,
                        changes,
                    )
            };
            let candidates: Vec<usize> = unknown.iter().filter(could).map(|(at, _)| *at).collect();
            let lease = changes
                .first()
                .and_then(|first| before.keys.get(&first.kv.key));
            let lease = lease.map_or(LeaseId::NONE, |kv| kv.lease);
            let is_end_of_lease =
                lease != LeaseId::NONE && same_changes(&before.lease_end(lease), changes);
            if is_end_of_lease && candidates.is_empty() {
                self.ends.push(End {
                    revision: *revision,
                    lease,
                    known: bound,
                });
            }
            unexplained.push(Unexplained {
                revision: *revision,
                changes,
                candidates,
                is_end_of_lease,
            });
        }
        self.attribute_to_unknown(&unexplained);
    }

    /// The answered writes by the revisions that they say they made.
    fn makers(&mut self) -> BTreeMap<i64, &'a Operation> {
        let mut makers: BTreeMap<i64, &Operation> = BTreeMap::new();
        for operation in &self.history.operations {
            let Some((revision, reply)) = operation.done() else {
                continue;
            };
            if !changes_something(&operation.request, reply) {
                continue;
            }
            if revision > self.last {
                let last = self.last;
                let what = format!("an acknowledged write is lost, the store ends at {last}");
                self.problems.push(Finding::new(what).operation(operation));
            } else if let Some(other) = makers.insert(revision, operation) {
                let what = format!("two writes claim revision {revision}");
                let finding = Finding::new(what).operation(other).operation(operation);
                self.problems.push(finding);
            }
        }
        makers
    }

    fn unknown_writes(&self) -> Vec<(usize, &'a Operation)> {
        let operations = self.history.operations.iter().enumerate();
        let is_unknown =
            |operation: &Operation| operation.request.is_write() && operation.returned().is_none();
        operations
            .filter(|(_, operation)| is_unknown(operation))
            .collect()
    }

    /// For each revision that was seen, when it or a later one was first known to be reached.
    fn bounds(&self) -> BTreeMap<i64, Duration> {
        let mut bounds: BTreeMap<i64, Duration> = BTreeMap::new();
        for operation in &self.history.operations {
            if let Some((revision, _)) = operation.done() {
                let bound = bounds.entry(revision).or_insert(operation.ended);
                *bound = operation.ended.min(*bound);
            }
        }
        let mut earliest = Duration::MAX;
        for bound in bounds.values_mut().rev() {
            earliest = earliest.min(*bound);
            *bound = earliest;
        }
        bounds
    }

    /// Finds a write of unknown outcome for each revision that no answered write made, each
    /// write for one revision at most.
    fn attribute_to_unknown(&mut self, revisions: &[Unexplained<'_>]) {
        let candidates: Vec<Vec<usize>> = revisions
            .iter()
            .map(|unexplained| unexplained.candidates.clone())
            .collect();
        let makers = assign(&candidates);
        for (unexplained, maker) in revisions.iter().zip(makers) {
            let revision = unexplained.revision;
            if maker.is_some() {
                // Which of its candidates made it is not known for certain.
                let candidates = unexplained.candidates.iter();
                let called = candidates.map(|at| self.history.operations[*at].called);
                self.called.extend(called.min().map(|it| (revision, it)));
            } else if !unexplained.is_end_of_lease {
                let changes = listed(unexplained.changes);
                let what = format!("nobody asked for revision {revision}: [{changes}]");
                self.problems.push(Finding::new(what).revision(revision));
            }
        }
    }

    /// Answers that show a write which was not yet asked for when they were given.
    pub(super) fn early(&self, operations: &[&Operation]) -> Vec<Finding> {
        let mut latest_call = Duration::ZERO;
        let calls: BTreeMap<i64, Duration> = self
            .called
            .iter()
            .map(|(revision, called)| {
                latest_call = latest_call.max(*called);
                (*revision, latest_call)
            })
            .collect();
        let is_early = |operation: &&&Operation| {
            let Some((revision, _)) = operation.done() else {
                return false;
            };
            let needed = calls.range(..=revision).next_back();
            needed.is_some_and(|(_, called)| *called > operation.ended)
        };
        let found = operations.iter().filter(is_early).map(|operation| {
            Finding::new("it shows a write that was not yet asked for").operation(operation)
        });
        found.collect()
    }
}

/// A revision that no answered write made.
struct Unexplained<'a> {
    revision: i64,
    changes: &'a [KeyChange],
    /// The writes of unknown outcome that may have made it.
    candidates: Vec<usize>,
    is_end_of_lease: bool,
}

/// Answers that are not the model's.
///
/// Leases make no revisions, so whether one existed at a moment is the lease check's business:
/// here all that a request needs are there.
pub(super) fn wrong_answers(history: &History, operations: &[&Operation]) -> Vec<Finding> {
    let mut by_revision: Vec<(i64, &Operation, &Reply)> = Vec::new();
    for operation in operations {
        if let Some((revision, reply)) = operation.done() {
            let wrote = changes_something(&operation.request, reply);
            let before = revision - i64::from(wrote);
            let at = at_revision(&operation.request).unwrap_or(before);
            by_revision.push((at, operation, reply));
        }
    }
    by_revision.sort_by_key(|(at, ..)| *at);
    let mut timeline = Timeline::of(history);
    let mut found = Vec::new();
    for (at, operation, reply) in by_revision {
        let request = &operation.request;
        let Some(state) = timeline.at(at) else {
            let last = timeline.last();
            let what = format!("it shows a revision that the store, at {last}, never had");
            found.push(Finding::new(what).operation(operation));
            continue;
        };
        let leases = match request {
            Request::LeaseGrant { .. } => Vec::new(),
            _ => leases_of(request),
        };
        let (_, expected) = state.outcome(request, &leases);
        if !is_same(&expected, reply) {
            let expected = match expected {
                Ok(expected) => expected.to_string(),
                Err(refusal) => describe(refusal).to_owned(),
            };
            let what = format!("at revision {at} the answer would be: {expected}");
            found.push(Finding::new(what).operation(operation));
        }
    }
    found
}

/// Whether an answer is the expected one. What was granted is for the lease check to judge, which
/// knows the least that is.
fn is_same(expected: &Result<Reply, Refusal>, reply: &Reply) -> bool {
    match (expected, reply) {
        (Ok(Reply::LeaseGrant { .. }), Reply::LeaseGrant { .. }) => true,
        (expected, reply) => expected.as_ref() == Ok(reply),
    }
}

/// Answers that are older than what was known before they were asked for.
fn stale(operations: &[&Operation]) -> Vec<Finding> {
    let mut by_call: Vec<(&Operation, i64, bool)> = Vec::new();
    for operation in operations {
        if let Some((revision, reply)) = operation.done() {
            let wrote = changes_something(&operation.request, reply);
            by_call.push((operation, revision, wrote));
        }
    }
    let mut by_end = by_call.clone();
    by_call.sort_by_key(|(operation, ..)| operation.called);
    by_end.sort_by_key(|(operation, ..)| operation.ended);
    let mut ended = by_end.iter().peekable();
    let mut newest: Option<(i64, &Operation)> = None;
    let mut found = Vec::new();
    for (operation, revision, wrote) in &by_call {
        while let Some((before, seen, _)) = ended.next_if(|(o, ..)| o.ended < operation.called) {
            if newest.is_none_or(|(newest, _)| newest < *seen) {
                newest = Some((*seen, before));
            }
        }
        let Some((seen, before)) = newest else {
            continue;
        };
        if *revision < seen || (*wrote && *revision == seen) {
            let what = "the second is older than what the first had seen before it";
            let finding = Finding::new(what).operation(before).operation(operation);
            found.push(finding);
        }
    }
    found
}

/// Whether a request may make changes like these at all: quickly said, and never wrongly no.
fn may_make(request: &Request, changes: &[KeyChange]) -> bool {
    fn op_may(op: &Op, change: &KeyChange) -> bool {
        match (op, change.kind) {
            (Op::Put(put), ChangeKind::Put) => {
                put.key == change.kv.key && (put.ignore_value || put.value == change.kv.value)
            }
            (Op::DeleteRange(delete), ChangeKind::Delete) => delete.range.contains(&change.kv.key),
            (Op::Txn(txn), _) => {
                let mut ops = txn.success.iter().chain(&txn.failure);
                ops.any(|op| op_may(op, change))
            }
            _ => false,
        }
    }
    let Some(first) = changes.first() else {
        return false;
    };
    match (request, first.kind) {
        (Request::Put(put), ChangeKind::Put) => {
            put.key == first.kv.key && (put.ignore_value || put.value == first.kv.value)
        }
        (Request::Delete(delete), ChangeKind::Delete) => delete.range.contains(&first.kv.key),
        (Request::Txn(txn), _) => {
            let mut ops = txn.success.iter().chain(&txn.failure);
            ops.any(|op| op_may(op, first))
        }
        (Request::LeaseRevoke { .. }, ChangeKind::Delete) => true,
        _ => false,
    }
}

fn listed(changes: &[KeyChange]) -> String {
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    changes.join(", ")
}

/// A greatest assignment of one candidate to each place, none used twice (Kuhn's augmenting
/// paths).
fn assign(candidates: &[Vec<usize>]) -> Vec<Option<usize>> {
    fn place(
        at: usize,
        candidates: &[Vec<usize>],
        taken: &mut BTreeMap<usize, usize>,
        tried: &mut BTreeSet<usize>,
    ) -> bool {
        for candidate in &candidates[at] {
            if !tried.insert(*candidate) {
                continue;
            }
            let holder = taken.get(candidate).copied();
            if holder.is_none_or(|holder| place(holder, candidates, taken, tried)) {
                taken.insert(*candidate, at);
                return true;
            }
        }
        false
    }
    let mut taken = BTreeMap::new();
    for at in 0..candidates.len() {
        place(at, candidates, &mut taken, &mut BTreeSet::new());
    }
    let mut assigned = vec![None; candidates.len()];
    taken
        .into_iter()
        .for_each(|(candidate, at)| assigned[at] = Some(candidate));
    assigned
}

/// Whether an answered request made a revision.
fn changes_something(request: &Request, reply: &Reply) -> bool {
    fn ops_change(txn: &detcd_core::api::TxnReply) -> bool {
        use detcd_core::api::OpReply;
        txn.responses.iter().any(|response| match response {
            OpReply::Range(_) => false,
            OpReply::Put(_) => true,
            OpReply::DeleteRange(delete) => delete.deleted > 0,
            OpReply::Txn(txn) => ops_change(txn),
        })
    }
    match (request, reply) {
        (Request::Put(_), _) => true,
        (Request::Delete(_), Reply::Delete(reply)) => reply.deleted > 0,
        (Request::Txn(_), Reply::Txn(reply)) => ops_change(reply),
        // Whether a revocation took keys with it is not told; its revisions are matched as
        // the end of a lease.
        _ => false,
    }
}

/// The leases that a request needs to exist.
pub(super) fn leases_of(request: &Request) -> Vec<LeaseId> {
    fn of_ops(ops: &[detcd_core::api::Op], leases: &mut Vec<LeaseId>) {
        use detcd_core::api::Op;
        for op in ops {
            match op {
                Op::Put(put) => leases.push(put.lease),
                Op::Txn(txn) => {
                    of_ops(&txn.success, leases);
                    of_ops(&txn.failure, leases);
                }
                Op::Range(_) | Op::DeleteRange(_) => {}
            }
        }
    }
    let mut leases = Vec::new();
    match request {
        Request::Put(put) => leases.push(put.lease),
        Request::Txn(txn) => {
            of_ops(&txn.success, &mut leases);
            of_ops(&txn.failure, &mut leases);
        }
        Request::LeaseRevoke { id } => leases.push(*id),
        Request::Range(_)
        | Request::Delete(_)
        | Request::LeaseGrant { .. }
        | Request::Compact(_) => {}
    }
    leases.retain(|lease| *lease != LeaseId::NONE);
    leases
}

/// A read of the past asks for its revision; the others are at the header's.
fn at_revision(request: &Request) -> Option<i64> {
    match request {
        Request::Range(range) if range.revision > 0 => Some(range.revision),
        _ => None,
    }
}

/// Equal as watchers see them: what a change replaced is not part of it.
fn same_changes(a: &[KeyChange], b: &[KeyChange]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| (a.kind, &a.kv) == (b.kind, &b.kv))
}

fn describe(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::LeaseNotFound => "no such lease",
        Refusal::LeaseExists => "the lease exists",
        Refusal::KeyNotFound => "no such key",
        Refusal::Future => "a revision that is still to come",
        Refusal::Compacted => "a revision that is compacted",
    }
}
