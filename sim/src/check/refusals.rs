//! Refusals are answers, too: a server may not turn a request away for no reason. What the state
//! forbids, the model forbids as well at some revision that the request may have met; and for all
//! else the request itself gives the reason, or the settings of the run do.
//!
//! Reads of a compacted revision, and compactions, are [`super::compaction`]'s.

use super::lease_ends::Leases;
use super::replay::leases_of;
use super::timeline::Timeline;
use super::{Facts, Finding};
use crate::history::{History, Operation, Request, past_reads};
use crate::model::Refusal;
use crate::run_facts::RefusalReasons;
use detcd_core::api::{DeleteRangeRequest, KeyRange, Op, PutRequest, TxnRequest};
use detcd_core::limits::{APPLY_LAG_MAX, LEASE_TTL_MAX};
use detcd_wire::etcdserverpb as pb;
use prost::Message;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What an encoded request may have besides what is counted.
const FRAME_BYTES_MAX: u64 = 512;

pub fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let history = facts.history;
    let mut refused: Vec<(&Operation, &str)> = history
        .operations
        .iter()
        .filter_map(|operation| Some((operation, operation.refused()?)))
        .collect();
    let judge = Judge::of(facts);
    refused.sort_by_key(|(operation, _)| *judge.window(operation).start());
    let mut timeline = Timeline::of(history);
    let unfounded = refused.into_iter().filter_map(|(operation, why)| {
        let what = judge.problem(operation, why, &mut timeline)?;
        Some(Finding::new(what).operation(operation))
    });
    unfounded.collect()
}

struct Judge<'a> {
    history: &'a History,
    leases: &'a Leases<'a>,
    /// When operations were over, and the highest revision that any had seen by then.
    seen: BTreeMap<Duration, i64>,
    /// For each revision, when it and all before it had been asked for.
    asked: Vec<(Duration, i64)>,
    last: i64,
    /// When operations were called.
    calls: Vec<Duration>,
}

impl<'a> Judge<'a> {
    fn of(facts: &'a Facts<'_>) -> Judge<'a> {
        let history = facts.history;
        let mut ended: Vec<(Duration, i64)> = history
            .operations
            .iter()
            .filter_map(|operation| Some((operation.ended, operation.done()?.0)))
            .collect();
        ended.sort_unstable();
        let mut seen = BTreeMap::new();
        let mut newest = 1;
        for (at, revision) in ended {
            newest = newest.max(revision);
            seen.insert(at, newest);
        }
        let mut latest = Duration::ZERO;
        let calls = facts.replay().called.iter();
        let asked = calls.map(|(revision, called)| {
            latest = latest.max(*called);
            (latest, *revision)
        });
        let asked = asked.collect();
        let mut calls: Vec<Duration> = history.operations.iter().map(|it| it.called).collect();
        calls.sort_unstable();
        Judge {
            history,
            leases: facts.leases(),
            seen,
            asked,
            last: history.revisions.keys().next_back().copied().unwrap_or(1),
            calls,
        }
    }

    /// The revisions at which it may have been judged: from the one that was known when it was
    /// called to the last one whose write was asked for before it was over.
    fn window(&self, operation: &Operation) -> RangeInclusive<i64> {
        let known = self.seen.range(..operation.called).next_back();
        let from = match operation.request.is_serializable() {
            // Any past state will do.
            true => 1,
            false => known.map_or(1, |(_, revision)| *revision).min(self.last),
        };
        let later = self
            .asked
            .partition_point(|(called, _)| *called <= operation.ended);
        let to = self
            .asked
            .get(later)
            .map_or(self.last, |(_, revision)| revision - 1);
        from..=to.max(from)
    }

    /// What is wrong with a refusal.
    fn problem(
        &self,
        operation: &Operation,
        why: &str,
        timeline: &mut Timeline<'_>,
    ) -> Option<String> {
        let request = &operation.request;
        let refusal_reasons = &self.history.run_facts.refusal_reasons;
        let text = why.strip_prefix("etcdserver: ").unwrap_or(why);
        let is_founded = match text {
            "key not found" => self.model_says(Refusal::KeyNotFound, operation, timeline),
            "requested lease not found" => {
                let mut needed = leases_of(request).into_iter();
                let (called, ended) = (operation.called, operation.ended);
                needed.any(|id| !self.leases.is_surely_there(id, called, ended))
            }
            "lease already exists" => self.leases.may_exist_for(operation),
            "mvcc: required revision is a future revision" => match request {
                // The compaction check's business.
                Request::Range(_) | Request::Compact(_) => true,
                _ => self.model_says(Refusal::Future, operation, timeline),
            },
            "mvcc: required revision has been compacted" => match request {
                Request::Range(_) | Request::Compact(_) => true,
                Request::Txn(txn) => self.is_compacted(txn, operation.ended),
                _ => false,
            },
            "mvcc: database space exceeded" => refusal_reasons.quota && grows(request),
            "too many requests" => {
                self.calls.partition_point(|at| *at <= operation.ended) as u64 >= APPLY_LAG_MAX
            }
            "rpc not supported for learner" => refusal_reasons.joins && !request.is_serializable(),
            _ => by_itself(request, text, refusal_reasons, self.history),
        };
        (!is_founded).then(|| "it was refused, and there is no reason to".to_owned())
    }

    /// Whether the model refuses it so at any revision that it may have met.
    fn model_says(
        &self,
        reason: Refusal,
        operation: &Operation,
        timeline: &mut Timeline<'_>,
    ) -> bool {
        let leases = leases_of(&operation.request);
        let window = self.window(operation);
        if timeline.at(*window.start()).is_none() {
            return false;
        }
        let mut ahead = timeline.clone();
        window.into_iter().any(|revision| {
            let state = ahead.at(revision);
            state.is_some_and(|state| {
                state.outcome(&operation.request, &leases).1.err() == Some(reason)
            })
        })
    }

    /// Whether a compaction may have taken what the transaction reads.
    fn is_compacted(&self, txn: &TxnRequest, ended: Duration) -> bool {
        let asked = past_reads(txn);
        let mut operations = self.history.operations.iter();
        asked.iter().any(|revision| *revision < 0)
            || operations.any(|operation| match &operation.request {
                Request::Compact(compact) => {
                    operation.called <= ended
                        && operation.may_have_happened()
                        && asked.iter().any(|revision| *revision < compact.revision)
                }
                _ => false,
            })
    }
}

/// Whether a full store may refuse it.
fn grows(request: &Request) -> bool {
    match request {
        Request::Put(_) | Request::LeaseGrant { .. } => true,
        Request::Txn(txn) => !puts(txn).is_empty(),
        _ => false,
    }
}

/// Whether the request itself gives this reason.
fn by_itself(
    request: &Request,
    text: &str,
    refusal_reasons: &RefusalReasons,
    history: &History,
) -> bool {
    let puts = match request {
        Request::Put(put) => vec![put],
        Request::Txn(txn) => puts(txn),
        _ => Vec::new(),
    };
    let txn = match request {
        Request::Txn(txn) => Some(txn),
        _ => None,
    };
    match text {
        "value is provided" => puts
            .iter()
            .any(|put| put.ignore_value && !put.value.is_empty()),
        "lease is provided" => puts.iter().any(|put| put.ignore_lease && put.lease.0 != 0),
        "duplicate key given in txn request" => {
            txn.is_some_and(|txn| writes_twice(&txn.success) || writes_twice(&txn.failure))
        }
        "too many operations in txn request" => {
            txn.is_some_and(|txn| ops_in_depth(txn) > refusal_reasons.txn_ops)
        }
        "request is too large" => {
            let least = *history.run_facts.request_bytes.start();
            encoded_bytes(request) + FRAME_BYTES_MAX > least
        }
        "too large lease TTL" => {
            matches!(request, Request::LeaseGrant { ttl, .. } if *ttl > LEASE_TTL_MAX)
        }
        _ => false,
    }
}

/// All puts of a transaction, in any of its branches.
fn puts(txn: &TxnRequest) -> Vec<&PutRequest> {
    let ops = txn.success.iter().chain(&txn.failure);
    let puts = ops.flat_map(|op| match op {
        Op::Put(put) => vec![put],
        Op::Txn(nested) => puts(nested),
        Op::Range(_) | Op::DeleteRange(_) => Vec::new(),
    });
    puts.collect()
}

fn deletes(ops: &[Op]) -> Vec<&DeleteRangeRequest> {
    let deletes = ops.iter().flat_map(|op| match op {
        Op::DeleteRange(delete) => vec![delete],
        Op::Txn(nested) => [deletes(&nested.success), deletes(&nested.failure)].concat(),
        Op::Range(_) | Op::Put(_) => Vec::new(),
    });
    deletes.collect()
}

/// Whether a key is named by two writes of a list that may both be run.
fn writes_twice(ops: &[Op]) -> bool {
    let puts: Vec<&PutRequest> = ops
        .iter()
        .flat_map(|op| match op {
            Op::Put(put) => vec![put],
            Op::Txn(nested) => self::puts(nested),
            Op::Range(_) | Op::DeleteRange(_) => Vec::new(),
        })
        .collect();
    let mut keys: Vec<_> = puts.iter().map(|put| &put.key).collect();
    keys.sort_unstable();
    let deletes = deletes(ops);
    let is_deleted = |range: &KeyRange| puts.iter().any(|put| range.contains(&put.key));
    keys.windows(2).any(|pair| pair[0] == pair[1])
        || deletes.iter().any(|delete| is_deleted(&delete.range))
}

/// The operations of a transaction and of those within it, each by its longest list.
fn ops_in_depth(txn: &TxnRequest) -> u64 {
    let lists = [txn.compare.len(), txn.success.len(), txn.failure.len()];
    let longest = lists.into_iter().max().unwrap_or(0) as u64;
    let nested = txn
        .success
        .iter()
        .chain(&txn.failure)
        .filter_map(|op| match op {
            Op::Txn(nested) => Some(ops_in_depth(nested)),
            _ => None,
        });
    longest + nested.max().unwrap_or(0)
}

fn encoded_bytes(request: &Request) -> u64 {
    let bytes = match request.clone() {
        Request::Range(range) => pb::RangeRequest::from(range).encoded_len(),
        Request::Put(put) => pb::PutRequest::from(put).encoded_len(),
        Request::Delete(delete) => pb::DeleteRangeRequest::from(delete).encoded_len(),
        Request::Txn(txn) => pb::TxnRequest::from(txn).encoded_len(),
        Request::LeaseGrant { .. } | Request::LeaseRevoke { .. } | Request::Compact(_) => 0,
    };
    bytes as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Clocks;
    use crate::check::forge::{self, NOTHING, did, history, operation, unknown};

    fn refused(from: f64, text: &str, why: &str) -> Operation {
        operation(from, from + 1.0, text, forge::refused(why))
    }

    /// A history in which the key was put from second 2 to 3, and then this.
    fn found(refusal_reasons: RefusalReasons, later: Vec<Operation>) -> usize {
        let put = did(2.0, 3.0, NOTHING, "put a 1");
        let mut history = history(&["put a 1"], [vec![put], later].concat());
        history.run_facts.refusal_reasons = refusal_reasons;
        check(&Facts::of(&history, Clocks::TRUE)).len()
    }

    fn is_wrong(later: impl Into<Vec<Operation>>) -> bool {
        found(RefusalReasons::default(), later.into()) > 0
    }

    #[test]
    fn what_the_state_forbids_may_be_refused_while_it_does() {
        let touch = |from| refused(from, "put a \"\" keep-value", "key not found");
        assert!(!is_wrong([touch(0.0)]));
        assert!(!is_wrong([touch(2.0)]));
        assert!(is_wrong([touch(4.0)]));
        assert!(is_wrong([refused(0.0, "put a 2", "key not found")]));
    }

    #[test]
    fn a_write_of_unknown_outcome_may_be_any_that_fits() {
        let delete = |from: f64| operation(from, from + 1.0, "delete a", unknown());
        let touch = |from| refused(from, "put a \"\" keep-value", "key not found");
        let is_wrong = |deletes: [f64; 2]| {
            let put = did(2.0, 3.0, NOTHING, "put a 1");
            let mut operations = vec![put, touch(4.0)];
            operations.extend(deletes.map(delete));
            let history = history(&["put a 1", "delete a"], operations);
            !check(&Facts::of(&history, Clocks::TRUE)).is_empty()
        };
        assert!(!is_wrong([4.0, 9.0]));
        assert!(!is_wrong([9.0, 4.0]));
        assert!(is_wrong([8.0, 9.0]));
    }

    #[test]
    fn a_transaction_may_not_read_what_is_to_come_or_gone() {
        let read = |from, revision: i64, why| {
            let text = format!("txn then ( get a rev={revision} )");
            refused(from, &text, why)
        };
        let future = "mvcc: required revision is a future revision";
        assert!(!is_wrong([read(4.0, 3, future)]));
        assert!(is_wrong([read(4.0, 2, future)]));
        let gone = "mvcc: required revision has been compacted";
        assert!(is_wrong([read(4.0, 1, gone)]));
        let compaction = || operation(4.0, 5.0, "compact 2", unknown());
        assert!(!is_wrong([compaction(), read(5.0, 1, gone)]));
        assert!(is_wrong([compaction(), read(2.0, 1, gone)]));
    }

    #[test]
    fn a_lease_is_missed_only_where_it_may_be_missing() {
        let leased = |from| refused(from, "put a 2 lease=7", "requested lease not found");
        let grant = || did(4.0, 5.0, &["put a 1"], "grant 7 5");
        let revoke = || operation(6.0, 7.0, "revoke 7", unknown());
        assert!(!is_wrong([leased(4.0)]));
        assert!(!is_wrong([grant(), leased(3.0)]));
        assert!(is_wrong([grant(), leased(6.0)]));
        assert!(!is_wrong([grant(), leased(6.0), revoke()]));
        assert!(!is_wrong([grant(), leased(9.0)]));
        let again = || refused(6.0, "grant 7 5", "lease already exists");
        assert!(is_wrong([again()]));
        assert!(!is_wrong([grant(), again()]));
    }

    #[test]
    fn the_rest_needs_a_request_or_settings_to_match() {
        let twice = |second: &str, why| {
            let text = format!("txn then ( put a 2 ) ( put {second} 3 )");
            refused(4.0, &text, why)
        };
        let why = "duplicate key given in txn request";
        assert!(!is_wrong([twice("a", why)]));
        assert!(is_wrong([twice("b", why)]));
        let many = || vec![twice("b", "too many operations in txn request")];
        assert!(is_wrong(many()));
        let few = RefusalReasons {
            txn_ops: 1,
            ..RefusalReasons::default()
        };
        assert_eq!(found(few, many()), 0);
        for why in [
            "mvcc: database space exceeded",
            "too many requests",
            "request is too large",
            "rpc not supported for learner",
            "not leader",
            "made up",
        ] {
            assert!(is_wrong([refused(4.0, "put a 2", why)]), "{why}");
        }
        let full = RefusalReasons {
            quota: true,
            joins: true,
            ..RefusalReasons::default()
        };
        let no_space = refused(4.0, "put a 2", "mvcc: database space exceeded");
        let learner = refused(4.0, "put a 2", "rpc not supported for learner");
        assert_eq!(found(full, vec![no_space, learner]), 0);
    }
}
