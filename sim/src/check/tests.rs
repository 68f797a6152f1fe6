//! Every history check, tried on histories that are right and on forged ones that are not.

use super::forge::{NOTHING, did, history, operation, unknown};
use super::{Clocks, Facts, Finding, durable, linearizable, serializable, watch};
use crate::history::{Gap, History, Operation, Outcome, Watched};
use crate::workload::ops;
use bytes::Bytes;
use detcd_core::api::KeyChange;
use std::collections::BTreeSet;
use std::time::Duration;

/// Whether each of replay, search and durability finds something.
fn found_by(took_effect: &[impl AsRef<str>], operations: Vec<Operation>) -> (bool, bool, bool) {
    let history = history(took_effect, operations);
    let facts = Facts::of(&history, Clocks::TRUE);
    let (replay, search) = (facts.replayed(), facts.searched());
    let durable = durable::check(&history);
    println!("replay {replay:#?}\nsearch {search:#?}\ndurable {durable:#?}");
    // What one answer shows by itself, both find.
    assert!(search.overlooked.is_empty());
    assert!(search.impossible.is_empty() || !replay.is_empty());
    let search = &search.unexplained;
    let any = !replay.is_empty() || !search.is_empty();
    assert_eq!(!linearizable::check(&facts).is_empty(), any);
    assert!(any || linearizable::disagreements(&facts).is_empty());
    (!replay.is_empty(), !search.is_empty(), !durable.is_empty())
}

const FINE: (bool, bool, bool) = (false, false, false);
const ONE: &[&str] = &["put a 1"];
const TWO: &[&str] = &["put a 1", "put a 2"];

#[test]
fn a_plain_history_is_fine() {
    let effects = ["put a 1", "put a 2", "delete a"];
    let operations = vec![
        did(0.0, 1.0, NOTHING, "put a 1"),
        did(2.0, 3.0, ONE, "get a"),
        did(2.0, 6.0, ONE, "put a 2"),
        // Overlaps the put: either value would do, at its own revision.
        did(3.0, 4.0, TWO, "get a"),
        did(7.0, 8.0, TWO, "delete a"),
        did(8.0, 9.0, &effects, "get a"),
    ];
    assert_eq!(found_by(&effects, operations), FINE);
}

#[test]
fn what_is_wrong_is_found_by_those_who_can_see_it() {
    type Case = (
        &'static str,
        &'static [&'static str],
        Vec<Operation>,
        (bool, bool, bool),
    );
    let first = || did(0.0, 1.0, NOTHING, "put a 1");
    let refused = Outcome::Refused("too large".to_owned());
    let cases: [Case; 5] = [
        (
            "a write is lost",
            ONE,
            vec![
                first(),
                did(2.0, 3.0, ONE, "put a 2"),
                did(4.0, 5.0, ONE, "get a"),
            ],
            (true, true, true),
        ),
        (
            "a read is stale",
            TWO,
            vec![
                first(),
                did(2.0, 3.0, ONE, "put a 2"),
                did(4.0, 5.0, ONE, "get a"),
            ],
            (true, true, false),
        ),
        (
            "a read is from the future",
            ONE,
            vec![
                did(0.0, 1.0, ONE, "get a"),
                did(2.0, 3.0, NOTHING, "put a 1"),
            ],
            (true, true, false),
        ),
        (
            "a refused write took effect",
            ONE,
            vec![
                operation(0.0, 1.0, "put a 1", refused),
                did(2.0, 3.0, ONE, "get a"),
            ],
            (true, true, false),
        ),
        (
            "writes are in the wrong order of time",
            &["put a 2", "put a 1"],
            vec![
                did(0.0, 1.0, &["put a 2"], "put a 1"),
                did(2.0, 3.0, NOTHING, "put a 2"),
                did(4.0, 5.0, &["put a 2", "put a 1"], "get a"),
            ],
            (true, true, false),
        ),
    ];
    for (what, effects, operations, expected) in cases {
        assert_eq!(found_by(effects, operations), expected, "{what}");
    }
    // Of two writes that claim one revision the search knows nothing.
    let replaced = vec![
        did(0.0, 1.0, NOTHING, "put a lost"),
        did(2.0, 3.0, NOTHING, "put a kept"),
    ];
    let (replay, _, durable) = found_by(&["put a kept"], replaced);
    assert!(replay && durable);
}

#[test]
fn a_serializable_read_may_be_stale_but_not_made_up() {
    let read = |from: f64, client, after: &[&str]| Operation {
        client,
        ..did(from, from + 1.0, after, "get a serializable")
    };
    let is_wrong = |reads: Vec<Operation>, restarted: Option<u64>| {
        let mut operations = vec![
            did(0.0, 1.0, NOTHING, "put a 1"),
            did(3.0, 4.0, ONE, "put a 2"),
        ];
        operations.extend(reads);
        let mut history = history(TWO, operations);
        let starts = restarted.map(Duration::from_secs).into_iter().collect();
        history.run_facts.starts.insert(0, starts);
        let facts = Facts::of(&history, Clocks::TRUE);
        assert_eq!(linearizable::check(&facts), []);
        assert_eq!(linearizable::disagreements(&facts), []);
        !serializable::check(&facts).is_empty()
    };
    assert!(!is_wrong(vec![read(6.0, 2, ONE), read(8.0, 2, TWO)], None));
    // Of no revision, and of one that was not yet asked for.
    assert!(is_wrong(vec![read(6.0, 2, &["put a 2"])], None));
    assert!(is_wrong(vec![read(1.0, 2, TWO)], None));
    // Back, at the same member, for the same client, while it lived.
    let back = || vec![read(6.0, 2, TWO), read(8.0, 2, ONE)];
    assert!(is_wrong(back(), None));
    assert!(!is_wrong(back(), Some(7)));
    assert!(!is_wrong(vec![read(6.0, 2, TWO), read(8.0, 3, ONE)], None));
}

#[test]
fn an_unknown_write_may_take_effect_later_or_never() {
    let operations = |second: f64| {
        vec![
            operation(0.0, 1.0, "put a 1", unknown()),
            operation(second, second + 1.0, "put a 2", unknown()),
            did(2.0, 3.0, NOTHING, "get a"),
            did(4.0, 5.0, &["put a 2"], "get a"),
        ]
    };
    assert_eq!(found_by(&["put a 2"], operations(0.0)), FINE);
    assert_eq!(found_by(&["put a 2", "put a 1"], operations(0.0)), FINE);
    // But not before it was asked for, and not twice.
    let early = found_by(&["put a 2"], operations(6.0));
    assert_eq!(early, (true, true, false));
    let (replay, _, _) = found_by(&["put a 2", "put a 2"], operations(0.0));
    assert!(replay);
}

#[test]
fn unknown_deletes_are_given_to_revisions_so_that_all_are_explained() {
    let effects = ["put a 1", "delete a", "put a 2", "put b 3", "delete a.."];
    // The first delete of "a" could be either request; only one way explains both.
    let operations = vec![
        operation(0.0, 1.0, "delete a..", unknown()),
        operation(0.0, 1.0, "delete a", unknown()),
        did(0.0, 1.0, NOTHING, "put a 1"),
        did(4.0, 5.0, &effects[..2], "put a 2"),
        did(6.0, 7.0, &effects[..3], "put b 3"),
    ];
    assert_eq!(found_by(&effects, operations), FINE);
}

/// Many clients that never learn what became of their writes, and one that reads.
#[test]
fn many_unknown_writes_do_not_make_the_search_wide() {
    let put = |n: usize| format!("put a v{n}");
    let at = |n: usize| n as f64;
    let unknown = |n: usize, text: &str| operation(at(n), at(n + 1), text, unknown());
    let mut operations: Vec<Operation> = (0..100).map(|n| unknown(n, &put(n))).collect();
    operations.extend((0..30).map(|n| unknown(n, "delete a")));
    let mut effects = Vec::new();
    for n in (0..100).step_by(3) {
        effects.push(put(n));
        operations.push(did(at(200 + n), at(201 + n), &effects, "get a"));
    }
    assert_eq!(found_by(&effects, operations.clone()), FINE);
    // The last read is answered with what the read before it saw: no, with a value long gone.
    let first = operations[130].outcome.clone();
    operations.last_mut().expect("there are reads").outcome = first;
    assert_eq!(found_by(&effects, operations), (true, true, false));
}

/// The responses of a watcher: each its header's revision and its changes.
type Responses = Vec<(i64, Vec<KeyChange>)>;

const CHANGES: &[&str] = &["put a 1", "put b 2", "delete a"];

/// The changes of a history, a response for each revision, without what they replaced.
fn responses(history: &History) -> Responses {
    let mut responses: Responses = history.revisions.clone().into_iter().collect();
    let changes = responses.iter_mut().flat_map(|(_, changes)| changes);
    changes.for_each(|change| change.prev_kv = None);
    responses
}

/// What is wrong if a watcher of everything is told this of a history.
fn watched(mut history: History, responses: Responses, seen: Watched) -> Vec<Finding> {
    history.watchers.push(Watched {
        came: vec![Duration::from_secs(9); responses.len()],
        responses,
        ..seen
    });
    watch::check(&history)
}

fn watcher() -> Watched {
    Watched::new("watcher", ops::prefix(""), 2)
}

/// Three changes, what a watcher saw of them, and whether that is wrong.
fn watch_problems(forge: impl FnOnce(&mut Responses) -> Vec<(usize, i64)>) -> Vec<Finding> {
    let history = history(CHANGES, Vec::new());
    let mut responses = responses(&history);
    let progress = forge(&mut responses);
    let seen = Watched {
        progress,
        ..watcher()
    };
    watched(history, responses, seen)
}

#[test]
fn a_watcher_that_saw_everything_once_is_fine() {
    assert_eq!(watch_problems(|_| vec![(1, 2), (3, 4)]), []);
    let joined = |responses: &mut Responses| {
        let second = responses.remove(1);
        responses[0].0 = 4;
        responses[0].1.extend(second.1);
        Vec::new()
    };
    assert_eq!(watch_problems(joined), []);
}

#[test]
fn filters_and_compactions_are_respected() {
    // Whether a watcher that should see these kinds only, and had this gap, may have seen that.
    let is_right = |no_put, no_delete, gap: Option<(i64, i64)>, seen: &[i64]| {
        let history = history(CHANGES, Vec::new());
        let mut responses = responses(&history);
        responses.retain(|(revision, _)| seen.contains(revision));
        let at = Duration::ZERO;
        let gap = gap.map(|(asked, compacted)| Gap {
            asked,
            compacted,
            at,
        });
        let seen = Watched {
            no_put,
            no_delete,
            gaps: gap.into_iter().collect(),
            ..watcher()
        };
        watched(history, responses, seen).is_empty()
    };
    assert!(is_right(true, false, None, &[4]));
    assert!(!is_right(true, false, None, &[2, 4]));
    assert!(is_right(false, true, None, &[2, 3]));
    assert!(!is_right(false, true, None, &[2, 3, 4]));
    assert!(is_right(false, false, Some((2, 3)), &[3, 4]));
    assert!(!is_right(false, false, Some((2, 3)), &[4]));
}

#[test]
fn forged_watches_are_found() {
    type Forgery = fn(&mut Responses);
    let forgeries: [(&str, Forgery); 5] = [
        ("missing in the middle", |told| drop(told.remove(1))),
        ("missing at the end", |told| drop(told.pop())),
        ("doubled", |told| told.insert(1, told[0].clone())),
        ("out of order", |told| told.swap(0, 1)),
        ("another value", |told| {
            told[0].1[0].kv.value = Bytes::from_static(b"other")
        }),
    ];
    for (name, forgery) in forgeries {
        let found = watch_problems(|responses| {
            forgery(responses);
            Vec::new()
        });
        assert_eq!(found.len(), 1, "{name}");
    }
    let ahead = watch_problems(|_| vec![(1, 3)]);
    assert_eq!(ahead.len(), 1, "progress ahead of events");
}

#[test]
fn what_an_event_replaced_may_only_be_missing_behind_a_compaction() {
    // The watcher wants to know what was replaced, and is not told, at second 9.
    let is_wrong = |compaction: Operation| {
        let history = history(TWO, vec![compaction]);
        let responses = responses(&history);
        let seen = Watched {
            prev_kv: true,
            ..watcher()
        };
        !watched(history, responses, seen).is_empty()
    };
    let compact = |at: f64, outcome| operation(at, at + 1.0, "compact 3", outcome);
    assert!(!is_wrong(did(1.0, 2.0, TWO, "compact 3")));
    assert!(!is_wrong(compact(8.0, unknown())));
    assert!(is_wrong(compact(1.0, Outcome::Refused("no".to_owned()))));
    assert!(is_wrong(compact(10.0, unknown())));
}

#[test]
fn a_final_state_that_nobody_applied_is_found() {
    let reported = |last: &[&str]| {
        let mut history = history(ONE, vec![did(0.0, 1.0, NOTHING, "put a 1")]);
        let keys = super::forge::state(last).keys;
        history.run_facts.keys = Some(keys.into_iter().collect());
        durable::check(&history).len()
    };
    assert_eq!(reported(ONE), 0);
    // The state differs, and an acknowledged write is gone.
    assert_eq!(reported(&["put a 2"]), 2);
    assert_eq!(reported(NOTHING), 2);
}

#[test]
fn a_history_that_is_told_otherwise_is_found() {
    let applied = history(&["put a 1", "put b 2"], Vec::new()).revisions;
    let reported = |effects: &[&str], from| {
        let mut reported = history(effects, Vec::new()).revisions;
        reported.retain(|at, _| *at >= from);
        durable::retold(0, &reported, &applied, from).map(|found| found.about.revisions)
    };
    let at = |revision| Some(BTreeSet::from([revision]));
    assert_eq!(reported(&["put a 1", "put b 2"], 2), None);
    assert_eq!(reported(&["put a 0", "put b 2"], 3), None);
    assert_eq!(reported(&["put a 1", "put b 3"], 2), at(3));
    assert_eq!(reported(&["put a 1"], 2), at(3));
    assert_eq!(reported(CHANGES, 2), at(4));
}
