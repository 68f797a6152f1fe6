//! Compactions: what is below one cannot be read any more, and everything above it can. That what
//! is read is right is the business of [`super::replay`].
//!
//! A compaction that was answered is a fact from its answer on; one that was called, whatever
//! became of it, is a possible fact from its call on.

use super::Finding;
use crate::history::{Gap, History, Operation, Outcome, Reply, Request, Watched, taken};
use detcd_core::api::{Op, OpReply, TxnReply, TxnRequest};
use std::time::Duration;

/// So often may a watcher be refused the very revision that it was told to go on with: once by each
/// member that learns of the compaction while it has yet to send what it holds.
const REFUSED_MAX: usize = 8;

/// How members say that what is asked for is not there any more, and not there yet.
const COMPACTED: &str = "required revision has been compacted";
const FUTURE: &str = "required revision is a future revision";

pub fn check(history: &History) -> Vec<Finding> {
    let compactions = Compactions::of(history);
    let mut found: Vec<Finding> = Vec::new();
    for operation in &history.operations {
        let wrong = match &operation.request {
            Request::Range(range) if range.revision > 0 => {
                compactions.wrong_read(history, operation, range.revision)
            }
            Request::Compact(compact) => compactions.wrong(history, operation, compact.revision),
            Request::Txn(txn) => compactions.wrong_txn(operation, txn),
            _ => None,
        };
        found.extend(wrong);
    }
    for watched in &history.watchers {
        for gap in &watched.gaps {
            let name = &watched.name;
            let what = if gap.compacted < gap.asked || is_refused_for_good(watched, *gap) {
                format!(
                    "{name} was refused revision {} because of a compaction to {}, which leaves it",
                    gap.asked, gap.compacted
                )
            } else if compactions
                .called_before(gap.at)
                .any(|(_, to)| to == gap.compacted)
            {
                continue;
            } else {
                format!(
                    "{name} was told of a compaction to {} that nobody had asked for",
                    gap.compacted
                )
            };
            found.push(Finding::new(what).client(name).time(gap.at));
        }
    }
    found
}

/// A watcher that lags at the compacted revision itself may be refused, because a delete of that
/// revision is gone; but it must get on.
fn is_refused_for_good(watched: &Watched, gap: Gap) -> bool {
    let same = |other: &&Gap| (other.asked, other.compacted) == (gap.asked, gap.compacted);
    gap.asked == gap.compacted && watched.gaps.iter().filter(same).count() > REFUSED_MAX
}

/// All compactions of a history, by their revision.
struct Compactions<'a> {
    called: Vec<(&'a Operation, i64)>,
}

impl<'a> Compactions<'a> {
    fn of(history: &'a History) -> Compactions<'a> {
        let operations = history.operations.iter();
        let called = operations.filter_map(|operation| match &operation.request {
            Request::Compact(compact) => Some((operation, compact.revision)),
            _ => None,
        });
        Compactions {
            called: called.collect(),
        }
    }

    fn called_before(&self, time: Duration) -> impl Iterator<Item = (&'a Operation, i64)> {
        let called = self.called.iter().copied();
        called.filter(move |(operation, _)| operation.called <= time)
    }

    fn answered_before(&self, time: Duration) -> impl Iterator<Item = (&'a Operation, i64)> {
        let called = self.called.iter().copied();
        called.filter(move |(operation, _)| operation.done().is_some() && operation.ended < time)
    }

    /// What is wrong with a read of a past revision.
    fn wrong_read(&self, history: &History, read: &Operation, at: i64) -> Option<Finding> {
        match &read.outcome {
            Outcome::Done { .. } if !read.request.is_serializable() => {
                let mut before = self.answered_before(read.called);
                let (compaction, _) = before.find(|(_, to)| *to > at)?;
                let what = format!("revision {at} was read after it had been compacted");
                Some(Finding::new(what).operation(compaction).operation(read))
            }
            Outcome::Refused(why) if why.contains(COMPACTED) => {
                let mut called = self.called_before(read.ended);
                if called.any(|(operation, to)| to > at && !is_refused(operation)) {
                    return None;
                }
                let what = format!("revision {at} is said to be compacted, and was not");
                Some(Finding::new(what).operation(read))
            }
            Outcome::Refused(why) if why.contains(FUTURE) && !read.request.is_serializable() => {
                let before = seen_before(history, read.called, at)?;
                let what = format!("revision {at} is said to be still to come, and was seen");
                Some(Finding::new(what).operation(before).operation(read))
            }
            _ => None,
        }
    }

    /// What is wrong with a transaction that reads the past.
    fn wrong_txn(&self, operation: &Operation, txn: &TxnRequest) -> Option<Finding> {
        let Some((_, Reply::Txn(reply))) = operation.done() else {
            return None;
        };
        let reads = reads_of(txn, reply);
        let mut before = self.answered_before(operation.called);
        let is_past = !operation.request.is_serializable();
        let gone = |to: i64| reads.iter().any(|at| *at != 0 && *at < to);
        let (compaction, _) = before.find(|(_, to)| is_past && gone(*to))?;
        let what = "a transaction read what had been compacted";
        let finding = Finding::new(what).operation(compaction);
        Some(finding.operation(operation))
    }

    /// What is wrong with a compaction.
    fn wrong(&self, history: &History, compaction: &Operation, to: i64) -> Option<Finding> {
        match &compaction.outcome {
            Outcome::Done { revision, .. } if *revision < to => {
                let what = "a compaction went beyond the store's last revision";
                Some(Finding::new(what).operation(compaction))
            }
            Outcome::Done { .. } => {
                let mut before = self.answered_before(compaction.called);
                let (earlier, _) = before.find(|(_, earlier)| *earlier >= to)?;
                let what = "a compaction succeeded behind an earlier one";
                let finding = Finding::new(what).operation(earlier);
                Some(finding.operation(compaction))
            }
            Outcome::Refused(why) if why.contains(COMPACTED) => {
                let mut called = self.called_before(compaction.ended);
                let explained = called.any(|(other, earlier)| {
                    !std::ptr::eq(other, compaction) && earlier >= to && !is_refused(other)
                });
                if explained {
                    return None;
                }
                let what = "a compaction is said to be behind an earlier one, and is not";
                Some(Finding::new(what).operation(compaction))
            }
            Outcome::Refused(why) if why.contains(FUTURE) => {
                let before = seen_before(history, compaction.called, to)?;
                let what = "a compaction is said to go beyond the last revision, which was seen";
                let finding = Finding::new(what).operation(before);
                Some(finding.operation(compaction))
            }
            _ => None,
        }
    }
}

/// Who had seen this revision before that moment.
fn seen_before(history: &History, moment: Duration, revision: i64) -> Option<&Operation> {
    history.operations.iter().find(|before| {
        let shows = before.done().is_some_and(|(shown, _)| shown >= revision);
        shows && before.ended < moment
    })
}

/// The revisions that a transaction read at, zero for its own.
fn reads_of(txn: &TxnRequest, reply: &TxnReply) -> Vec<i64> {
    let reads = taken(txn, reply).flat_map(|(op, reply)| match (op, reply) {
        (Op::Range(range), _) => vec![range.revision],
        (Op::Txn(nested), OpReply::Txn(reply)) => reads_of(nested, reply),
        _ => Vec::new(),
    });
    reads.collect()
}

fn is_refused(operation: &Operation) -> bool {
    !operation.may_have_happened()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::forge::{NOTHING, did, history, operation, refused, unknown};
    use crate::workload::ops;

    const GONE: &str = "mvcc: required revision has been compacted";
    const TO_COME: &str = "mvcc: required revision is a future revision";

    fn read(from: f64, at: i64) -> Operation {
        was_done(from, &format!("get a rev={at}"))
    }

    fn compact(from: f64, to: i64) -> Operation {
        was_done(from, &format!("compact {to}"))
    }

    /// Answered at revision 9, after half a second.
    fn was_done(from: f64, text: &str) -> Operation {
        let mut operation = did(from, from + 0.5, NOTHING, text);
        if let Outcome::Done { revision, .. } = &mut operation.outcome {
            *revision = 9;
        }
        operation
    }

    fn ended(operation: Operation, outcome: Outcome) -> Operation {
        Operation {
            outcome,
            ..operation
        }
    }

    fn is_wrong(operations: Vec<Operation>) -> bool {
        !check(&history(NOTHING, operations)).is_empty()
    }

    #[test]
    fn reads_above_and_refusals_below_are_fine() {
        let operations = vec![
            read(0.0, 3),
            compact(1.0, 5),
            read(2.0, 5),
            ended(read(3.0, 4), refused(GONE)),
            ended(compact(4.0, 5), refused(GONE)),
            ended(read(4.0, 10), refused(TO_COME)),
            ended(compact(5.0, 7), unknown()),
            ended(read(6.0, 6), refused(GONE)),
            read(7.0, 6),
        ];
        assert!(!is_wrong(operations));
    }

    #[test]
    fn a_read_of_what_is_gone_is_found() {
        assert!(is_wrong(vec![compact(1.0, 5), read(2.0, 4)]));
    }

    #[test]
    fn a_transaction_that_reads_what_is_gone_is_found() {
        let judged = |at: f64, revision| {
            let written = ["put a 1"; 8];
            let text = format!("txn then ( get a rev={revision} )");
            let mut txn = operation(at, at + 0.5, text, unknown());
            let done = did(at, at + 0.5, &written, "txn then ( get a )");
            txn.outcome = done.outcome;
            is_wrong(vec![compact(1.0, 5), txn])
        };
        assert!(!judged(2.0, 0));
        assert!(!judged(2.0, 5));
        assert!(!judged(0.0, 4));
        assert!(judged(2.0, 4));
    }

    #[test]
    fn refusals_without_a_reason_are_found() {
        let gone = |operation| ended(operation, refused(GONE));
        assert!(is_wrong(vec![gone(read(0.0, 4)), compact(1.0, 5)]));
        assert!(is_wrong(vec![compact(1.0, 5), gone(read(2.0, 5))]));
        assert!(is_wrong(vec![compact(1.0, 5), gone(compact(2.0, 6))]));
        let late = ended(read(3.0, 9), refused(TO_COME));
        assert!(is_wrong(vec![read(1.0, 2), late]));
    }

    #[test]
    fn compactions_that_go_back_or_too_far_are_found() {
        assert!(is_wrong(vec![compact(1.0, 5), compact(2.0, 5)]));
        assert!(is_wrong(vec![compact(1.0, 10)]));
        let to_come = |to| ended(compact(1.0, to), refused(TO_COME));
        assert!(!is_wrong(vec![read(0.0, 1), to_come(10)]));
        assert!(is_wrong(vec![read(0.0, 1), to_come(9)]));
    }

    #[test]
    fn watchers_that_are_refused_too_much_are_found() {
        let refused_often = |asked, compacted, times| {
            let mut watched = Watched::new("watcher", ops::prefix("a"), 1);
            let at = Duration::from_secs(2);
            let gap = Gap {
                asked,
                compacted,
                at,
            };
            watched.gaps = vec![gap; times];
            let mut history = history(NOTHING, vec![compact(1.0, 5)]);
            history.watchers.push(watched);
            !check(&history).is_empty()
        };
        let refused = |asked, compacted| refused_often(asked, compacted, 1);
        assert!(refused_often(5, 5, REFUSED_MAX + 1));
        assert!(!refused(4, 5));
        // What was deleted at the very revision is gone.
        assert!(!refused(5, 5));
        assert!(refused(6, 5));
        assert!(refused(4, 6));
    }
}
