//! A long history that is right, made without a cluster: the model answers, in turn, and some
//! answers never arrive.

use crate::history::{History, Operation, Outcome, Reply, Request, Watched};
use crate::model::State;
use crate::rng::Rng;
use bytes::Bytes;
use detcd_core::api::{
    Compare, CompareOp, CompareTarget, DeleteRangeRequest, KeyChange, KeyRange, Op, PutRequest,
    RangeRequest, TxnRequest,
};
use std::collections::BTreeMap;
use std::time::Duration;

const KEYS: u64 = 200;
const CLIENTS: u64 = 20;

/// So many operations of several clients, whose calls overlap.
pub fn of(operations: usize) -> History {
    let mut rng = Rng::of(1, "bench");
    let mut state = State::empty();
    let mut history = History::default();
    for number in 0..operations as u64 {
        let request = request(&mut rng, number);
        let (changes, result) = state.outcome(&request, &[]);
        if !changes.is_empty() {
            state.advance(&changes);
            history.revisions.insert(state.revision, stored(&changes));
        }
        let reply = result.expect("the requests need nothing to be there");
        // Takes effect in the middle of its time, and all in the order of their numbers.
        let effect = Duration::from_millis(10 * number + 1000);
        let reach = Duration::from_millis(rng.range(1..=100));
        history.operations.push(Operation {
            client: (number % CLIENTS) as u32,
            member: (number % 3) as usize,
            called: effect - reach,
            ended: effect + reach,
            outcome: outcome(&mut rng, &request, state.revision, reply),
            request,
        });
    }
    history.watchers.push(watcher(&history.revisions));
    history
}

/// Members tell of changes without what they replaced.
fn stored(changes: &[KeyChange]) -> Vec<KeyChange> {
    let changes = changes.iter().cloned();
    let stripped = changes.map(|change| KeyChange {
        prev_kv: None,
        ..change
    });
    stripped.collect()
}

fn outcome(rng: &mut Rng, request: &Request, revision: i64, reply: Reply) -> Outcome {
    if request.is_write() && rng.chance(0.01) {
        return Outcome::Unknown("no answer".to_owned());
    }
    Outcome::Done { revision, reply }
}

fn request(rng: &mut Rng, number: u64) -> Request {
    let key = Bytes::from(format!("k/{}", rng.range(0..=KEYS - 1)));
    let put = PutRequest {
        key: key.clone(),
        value: Bytes::from(format!("value {number}")),
        prev_kv: rng.chance(0.25),
        ..PutRequest::default()
    };
    match rng.range(0..=9) {
        0..=4 => Request::Put(put),
        5..=7 => {
            let mut range = RangeRequest::of(KeyRange::One(key));
            range.serializable = rng.chance(0.125);
            Request::Range(range)
        }
        8 => Request::Delete(DeleteRangeRequest {
            range: KeyRange::One(key),
            prev_kv: false,
        }),
        _ => {
            let range = KeyRange::One(key);
            Request::Txn(TxnRequest {
                compare: vec![Compare {
                    range: range.clone(),
                    op: CompareOp::Equal,
                    target: CompareTarget::Version(0),
                }],
                success: vec![Op::Put(put)],
                failure: vec![Op::Range(RangeRequest::of(range))],
            })
        }
    }
}

/// One that saw everything.
fn watcher(revisions: &BTreeMap<i64, Vec<KeyChange>>) -> Watched {
    let range = KeyRange::Span {
        start: Bytes::from_static(b"k/"),
        end: None,
    };
    let seen = revisions.iter().map(|(at, changes)| (*at, changes.clone()));
    let came = vec![Duration::ZERO; revisions.len()];
    Watched {
        responses: seen.collect(),
        came,
        ..Watched::new("watcher", range, 1)
    }
}
