//! Locks and elections: one has his turn at a time.
//! - Whoever learned that it was his turn had the oldest key of the queue then.
//! - What only those may write who have their turn was written by those whose key was the oldest.
//! - No two had their turn at the same time, as their own clocks told them.
//! - An observer saw the oldest key, and never an older one after a newer, nor what was proclaimed
//!   in another order.

use super::{Facts, Finding};
use crate::client_records::{Observer, Turn};
use crate::history::{History, first_number, text};
use crate::model::State;
use bytes::Bytes;
use detcd_core::api::{KeyRange, KeyValue};
use std::collections::BTreeMap;
use std::time::Duration;

pub fn exclusive(facts: &Facts<'_>) -> Vec<Finding> {
    let history = facts.history;
    if history.turns.is_empty() {
        return Vec::new();
    }
    let turns = history.turns.iter();
    let mut findings: Vec<Finding> = turns
        .filter_map(|turn| entered(facts.states(), turn))
        .collect();
    findings.extend(guarded(history, facts.states()));
    if !facts.clocks.jumped {
        findings.extend(overlaps(&history.turns, facts.clocks.fastest));
    }
    findings
}

pub fn observed(facts: &Facts<'_>) -> Vec<Finding> {
    let observers = facts.history.observers.iter();
    observers
        .filter_map(|one| seen(facts.states(), one))
        .collect()
}

/// The store at each revision.
type States = BTreeMap<i64, State>;

/// Whose turn it is: the key that was created first.
fn first<'a>(state: &'a State, queue: &KeyRange) -> Option<&'a KeyValue> {
    let waiting = state.keys.iter().filter(|(key, _)| queue.contains(key));
    waiting
        .map(|(_, kv)| kv)
        .min_by_key(|kv| kv.create_revision)
}

fn reported(first: Option<&KeyValue>) -> String {
    first.map_or("nobody's".to_owned(), |kv| {
        format!(
            "that of {} with token {}",
            text(&kv.key),
            kv.create_revision
        )
    })
}

fn entered(states: &States, turn: &Turn) -> Option<Finding> {
    let first = first(states.get(&turn.entered_at)?, &turn.queue);
    if first.is_some_and(|kv| kv.create_revision == turn.token && kv.key == turn.key) {
        return None;
    }
    let Turn {
        client,
        token,
        entered_at,
        ..
    } = turn;
    let first = reported(first);
    let what = format!(
        "client {client} with token {token} took it for its turn at revision {entered_at}, which \
         was {first}"
    );
    Some(Finding::new(what).revision(*entered_at).time(turn.entered))
}

/// Every value that was written under a guard, whoever learned of it, was written in turn.
fn guarded(history: &History, states: &States) -> Vec<Finding> {
    let queues: BTreeMap<&Bytes, &KeyRange> = history
        .turns
        .iter()
        .map(|turn| (&turn.guarded, &turn.queue))
        .collect();
    let mut findings = Vec::new();
    for (revision, changes) in &history.revisions {
        for change in changes {
            let Some(queue) = queues.get(&change.kv.key) else {
                continue;
            };
            let first = states
                .get(&(revision - 1))
                .and_then(|state| first(state, queue));
            let token = first_number(&change.kv.value);
            if token.is_none() || token != first.map(|kv| kv.create_revision) {
                let (value, first) = (text(&change.kv.value), reported(first));
                let what = format!(
                    "`{value}` was written at revision {revision} in a turn that \
                                    was {first}"
                );
                findings.push(Finding::new(what).revision(*revision));
            }
        }
    }
    findings
}

/// Two turns of one queue at one time. A lease may end as much earlier as the fastest clock is
/// fast.
fn overlaps(turns: &[Turn], fastest: f64) -> Vec<Finding> {
    let end = |turn: &Turn| {
        let ttl = Duration::from_secs(turn.ttl_s).div_f64(fastest.max(1.0));
        turn.left.min(turn.renewed + ttl)
    };
    let mut by_queue: BTreeMap<&Bytes, Vec<&Turn>> = BTreeMap::new();
    for turn in turns {
        by_queue.entry(&turn.guarded).or_default().push(turn);
    }
    let mut findings = Vec::new();
    for turns in by_queue.values_mut() {
        turns.sort_by_key(|turn| (turn.entered, turn.token));
        let mut last: Option<&Turn> = None;
        for turn in turns.iter() {
            if let Some(last) = last
                && turn.entered < end(last)
            {
                let what = format!(
                    "client {} had its turn from {:?} until {:?}, and client {} from {:?}",
                    last.client,
                    last.entered,
                    end(last),
                    turn.client,
                    turn.entered
                );
                findings.push(Finding::new(what).time(turn.entered).time(last.entered));
            }
            if last.is_none_or(|last| end(last) < end(turn)) {
                last = Some(turn);
            }
        }
    }
    findings
}

/// The first thing that is wrong with what an observer saw.
fn seen(states: &States, observer: &Observer) -> Option<Finding> {
    let name = &observer.name;
    let (mut newest, mut last) = (0, 0);
    for (revision, leader) in &observer.seen {
        if leader.create_revision < newest {
            let what = format!(
                "{name} saw token {} after token {newest}",
                leader.create_revision
            );
            return Some(Finding::new(what).revision(*revision).client(name));
        }
        newest = leader.create_revision;
        if *revision < last {
            let what = format!("{name} was told of revision {revision} after {last}");
            return Some(Finding::new(what).revision(*revision).client(name));
        }
        last = *revision;
        // What came after the end of the history cannot be judged.
        let Some(state) = states.get(revision) else {
            continue;
        };
        let first = first(state, &observer.queue);
        if first != Some(leader) {
            let (saw, first) = (reported(Some(leader)), reported(first));
            let what = format!("{name} saw {saw} at revision {revision}, where {first} was first");
            return Some(Finding::new(what).revision(*revision).client(name));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Clocks, forge};
    use crate::workload::ops;

    const TRUE: Clocks = Clocks::TRUE;

    fn key(name: &str) -> Bytes {
        Bytes::from(format!("lock/queue/{name}"))
    }

    fn guarded_key() -> Bytes {
        Bytes::from_static(b"lock/guarded")
    }

    fn turn(name: &str, token: i64, (entered, entered_at): (u64, i64), left: u64) -> Turn {
        Turn {
            client: 1,
            queue: ops::prefix("lock/queue/"),
            guarded: guarded_key(),
            key: key(name),
            token,
            entered: Duration::from_secs(entered),
            entered_at,
            left: Duration::from_secs(left),
            renewed: Duration::from_secs(left),
            ttl_s: 10,
        }
    }

    /// `a` stands in line at 2 and `b` at 3, `a` writes at 4 and goes at 5, `b` writes at 6.
    fn plain() -> History {
        let effects = [
            "put lock/queue/a \"\"",
            "put lock/queue/b \"\"",
            "put lock/guarded 2\\x20x",
            "delete lock/queue/a",
            "put lock/guarded 3\\x20y",
        ];
        let mut history = forge::history(&effects, Vec::new());
        history.turns = vec![turn("a", 2, (1, 2), 5), turn("b", 3, (6, 5), 9)];
        let led = |revision: i64, by: &str| {
            let state = forge::state(&effects[..revision as usize - 1]);
            (revision, state.keys[&key(by)].clone())
        };
        history.observers = vec![Observer {
            name: "o1".to_owned(),
            queue: ops::prefix("lock/queue/"),
            seen: vec![led(3, "a"), led(5, "b")],
        }];
        history
    }

    fn is_wrong(forge: impl FnOnce(&mut History)) -> bool {
        let mut history = plain();
        forge(&mut history);
        let facts = Facts::of(&history, TRUE);
        !exclusive(&facts).is_empty() || !observed(&facts).is_empty()
    }

    #[test]
    fn turns_one_after_the_other_are_fine() {
        assert!(!is_wrong(|_| {}));
    }

    #[test]
    fn forged_turns_are_found() {
        // It was not its turn yet, or it had no place any more.
        assert!(is_wrong(|history| history.turns[1].entered_at = 4));
        assert!(is_wrong(|history| history.turns[0].entered_at = 5));
        // Both at a time.
        assert!(is_wrong(
            |history| history.turns[0].left = Duration::from_secs(7)
        ));
        // Written out of turn.
        let late = |history: &mut History| {
            let changes = history.revisions.get_mut(&6).expect("b writes");
            changes[0].kv.value = Bytes::from_static(b"2 z");
        };
        assert!(is_wrong(late));
    }

    #[test]
    fn two_turns_at_a_time_are_the_clocks_if_they_run_fast() {
        let mut history = plain();
        history.turns[0].renewed = Duration::from_secs(0);
        (history.turns[0].left, history.turns[0].ttl_s) = (Duration::from_secs(7), 7);
        let is_wrong = |clocks| !exclusive(&Facts::of(&history, clocks)).is_empty();
        assert!(is_wrong(TRUE));
        let (mut fast, mut jumped) = (TRUE, TRUE);
        (fast.fastest, jumped.jumped) = (1.2, true);
        assert!(!is_wrong(fast) && !is_wrong(jumped));
    }

    #[test]
    fn forged_observers_are_found() {
        assert!(is_wrong(|history| history.observers[0].seen.reverse()));
        assert!(is_wrong(|history| history.observers[0].seen[0].0 = 5));
        let other = |history: &mut History| {
            history.observers[0].seen[1].1.value = Bytes::from_static(b"nobody proclaimed it");
        };
        assert!(is_wrong(other));
    }
}
