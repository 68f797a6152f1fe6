//! Linearizability by replay: the store itself says in which order writes took effect, by their
//! revisions. Near linear in the length of the history.
//!
//! The history is linearizable in revision order exactly if
//! - every answered write made the changes of its revision, and answers what the model answers;
//! - every revision that no answered write made is the work of one write of unknown outcome (or of
//!   a lease that ended), each of which is used at most once;
//! - every read shows the model's state at its revision;
//! - the order respects real time: what returned before another began comes before it.

use super::Finding;
use crate::history::{History, Operation, Reply, Request};
use crate::model::{Refusal, State};
use detcd_core::api::{Change, LeaseId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is wrong with the history, in words; nothing if it is linearizable.
pub fn check(history: &History) -> Vec<Finding> {
    let mut replay = Replay::new(history);
    replay.attribute_revisions();
    if replay.problems.is_empty() {
        replay.check_replies();
        replay.check_real_time();
    }
    replay.problems
}

struct Replay<'a> {
    history: &'a History,
    /// The state at revision 1, 2, ...
    states: Vec<State>,
    /// When the write of each revision was called, where that is known.
    called: BTreeMap<i64, Duration>,
    problems: Vec<Finding>,
}

impl<'a> Replay<'a> {
    fn new(history: &'a History) -> Replay<'a> {
        let mut states = vec![State::empty()];
        let mut problems = Vec::new();
        for (revision, changes) in &history.revisions {
            let last = states.last().expect("there is a first state");
            if *revision != last.revision + 1 {
                let last = last.revision;
                let what = format!("after revision {last} comes {revision} in the final state");
                problems.push(Finding::new(what).revision(*revision));
                break;
            }
            states.push(last.follow(changes));
        }
        Replay {
            history,
            states,
            called: BTreeMap::new(),
            problems,
        }
    }

    fn last_revision(&self) -> i64 {
        self.states.len() as i64
    }

    fn state(&self, revision: i64) -> Option<&State> {
        self.states.get(usize::try_from(revision - 1).ok()?)
    }

    /// The state just before `revision`, with the leases that `request` needs: leases make no
    /// revisions, so whether one existed at that moment is the lease check's business.
    fn state_before(&self, revision: i64, request: &Request) -> Option<State> {
        let mut state = self.state(revision - 1)?.clone();
        for lease in leases_of(request) {
            state.leases.insert(lease.0, 0);
        }
        Some(state)
    }

    /// Finds out which operation made each revision.
    fn attribute_revisions(&mut self) {
        let mut makers: BTreeMap<i64, &Operation> = BTreeMap::new();
        for operation in &self.history.operations {
            let Some((revision, reply)) = operation.done() else {
                continue;
            };
            if !changes_something(&operation.request, reply) {
                continue;
            }
            if revision > self.last_revision() {
                let last = self.last_revision();
                let problem = format!("an acknowledged write is lost, the store ends at {last}");
                self.problem(problem, operation);
            } else if let Some(other) = makers.insert(revision, operation) {
                let what = format!("two writes claim revision {revision}");
                let finding = Finding::new(what).operation(other).operation(operation);
                self.problems.push(finding);
            }
        }
        let mut unexplained: Vec<(i64, &[Change])> = Vec::new();
        for (revision, changes) in &self.history.revisions {
            match makers.get(revision) {
                Some(operation) => {
                    self.called.insert(*revision, operation.called);
                    self.check_changes(*revision, operation, changes);
                }
                None => unexplained.push((*revision, changes)),
            }
        }
        self.attribute_to_unknown(&unexplained);
    }

    /// For each revision, when it was first known to be reached: its write was called before.
    fn bounds(&self) -> BTreeMap<i64, Duration> {
        let mut bounds: BTreeMap<i64, Duration> = BTreeMap::new();
        for operation in &self.history.operations {
            if let Some((revision, _)) = operation.done() {
                let bound = bounds.entry(revision).or_insert(operation.ended);
                *bound = operation.ended.min(*bound);
            }
        }
        bounds
    }

    fn check_changes(&mut self, revision: i64, operation: &Operation, changes: &[Change]) {
        let Some(before) = self.state_before(revision, &operation.request) else {
            return;
        };
        let made = before.apply(&operation.request).changes;
        if !same_changes(&made, changes) {
            let stored: Vec<String> = changes.iter().map(ToString::to_string).collect();
            let stored = stored.join(", ");
            let problem =
                format!("an acknowledged write is not what revision {revision} has: [{stored}]");
            self.problem(problem, operation);
        }
    }

    /// Finds a write of unknown outcome for each revision that no answered write made, each
    /// write for one revision at most.
    fn attribute_to_unknown(&mut self, revisions: &[(i64, &[Change])]) {
        let bounds = self.bounds();
        let candidates: Vec<Vec<usize>> = revisions
            .iter()
            .map(|(revision, changes)| self.candidates(*revision, changes, &bounds))
            .collect();
        let makers = assign(&candidates);
        for ((revision, changes), maker) in revisions.iter().zip(makers) {
            if let Some(maker) = maker {
                self.called
                    .insert(*revision, self.history.operations[maker].called);
            } else if !self.is_end_of_lease(*revision, changes) {
                let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
                let changes = changes.join(", ");
                let what = format!("nobody asked for revision {revision}: [{changes}]");
                self.problems.push(Finding::new(what).revision(*revision));
            }
        }
    }

    /// The writes of unknown outcome that may have made this revision.
    fn candidates(
        &self,
        revision: i64,
        changes: &[Change],
        bounds: &BTreeMap<i64, Duration>,
    ) -> Vec<usize> {
        // Who observed this revision or a later one, observed it after its write was called.
        let bound = bounds.range(revision..).map(|(_, bound)| *bound).min();
        let operations = self.history.operations.iter().enumerate();
        operations
            .filter(|(_, operation)| operation.request.is_write() && operation.returned().is_none())
            .filter(|(_, operation)| bound.is_none_or(|bound| operation.called <= bound))
            .filter(|(_, operation)| {
                let before = self.state_before(revision, &operation.request);
                before.is_some_and(|before| {
                    same_changes(&before.apply(&operation.request).changes, changes)
                })
            })
            .map(|(index, _)| index)
            .collect()
    }

    fn is_end_of_lease(&self, revision: i64, changes: &[Change]) -> bool {
        let Some(before) = self.state(revision - 1) else {
            return false;
        };
        let lease = changes
            .first()
            .and_then(|change| before.keys.get(&change.kv.key));
        let lease = lease.map_or(LeaseId::NONE, |kv| kv.lease);
        lease != LeaseId::NONE && same_changes(&before.lease_end(lease), changes)
    }

    /// Every answer is the model's.
    fn check_replies(&mut self) {
        for operation in &self.history.operations {
            let Some((revision, reply)) = operation.done() else {
                continue;
            };
            let wrote = changes_something(&operation.request, reply);
            let before = revision - i64::from(wrote);
            let request = &operation.request;
            let mut state = match self.state(at_revision(request).unwrap_or(before)) {
                Some(state) => state.clone(),
                None => {
                    let last = self.last_revision();
                    let problem =
                        format!("it shows a revision that the store, at {last}, never had");
                    self.problem(problem, operation);
                    continue;
                }
            };
            if !matches!(request, Request::LeaseGrant { .. }) {
                for lease in leases_of(request) {
                    state.leases.insert(lease.0, 0);
                }
            }
            let expected = state.apply(request).result;
            if expected.as_ref() != Ok(reply) {
                let expected = match expected {
                    Ok(expected) => expected.to_string(),
                    Err(refusal) => describe(refusal).to_owned(),
                };
                let problem = format!("at revision {before} the answer would be: {expected}");
                self.problem(problem, operation);
            }
        }
    }

    /// No answer is older than what was known before it was asked for, and none newer than what
    /// was asked for before it was given.
    fn check_real_time(&mut self) {
        let mut by_call: Vec<(&Operation, i64, bool)> = Vec::new();
        for operation in &self.history.operations {
            if let Some((revision, reply)) = operation.done() {
                by_call.push((
                    operation,
                    revision,
                    changes_something(&operation.request, reply),
                ));
            }
        }
        let mut by_end = by_call.clone();
        by_call.sort_by_key(|(operation, ..)| operation.called);
        by_end.sort_by_key(|(operation, ..)| operation.ended);
        let mut ended = by_end.iter().peekable();
        let mut newest: Option<(i64, &Operation)> = None;
        for (operation, revision, wrote) in &by_call {
            while let Some((before, seen, _)) = ended.next_if(|(o, ..)| o.ended < operation.called)
            {
                if newest.is_none_or(|(newest, _)| newest < *seen) {
                    newest = Some((*seen, before));
                }
            }
            let Some((seen, before)) = newest else {
                continue;
            };
            let stale = *revision < seen || (*wrote && *revision == seen);
            if stale && !operation.request.is_serializable() {
                let what = "the second is older than what the first had seen before it";
                let finding = Finding::new(what).operation(before).operation(operation);
                self.problems.push(finding);
            }
        }
        let mut latest_call = Duration::ZERO;
        let calls: BTreeMap<i64, Duration> = self
            .called
            .iter()
            .map(|(revision, called)| {
                latest_call = latest_call.max(*called);
                (*revision, latest_call)
            })
            .collect();
        for (operation, revision, _) in &by_call {
            let needed = calls.range(..=*revision).next_back();
            if needed.is_some_and(|(_, called)| *called > operation.ended) {
                self.problem(
                    "it shows a write that was not yet asked for".to_owned(),
                    operation,
                );
            }
        }
    }

    fn problem(&mut self, what: String, operation: &Operation) {
        self.problems.push(Finding::new(what).operation(operation));
    }
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
fn leases_of(request: &Request) -> Vec<LeaseId> {
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
fn same_changes(a: &[Change], b: &[Change]) -> bool {
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
    }
}
