//! Every history check, tried on histories that are right and on forged ones that are not.

use super::{
    Clocks, Facts, Violation, durable, linearizable, replay, serializable, watch, wing_gong,
};
use crate::history::{Gap, History, Operation, Outcome, Reply, Request, Watched};
use crate::model::State;
use bytes::Bytes;
use detcd_core::api::{
    CompactRequest, DeleteRangeReply, DeleteRangeRequest, KeyRange, KeyValue, PutReply, PutRequest,
    RangeReply, RangeRequest,
};
use std::collections::BTreeSet;
use std::time::Duration;

fn one(key: &'static str) -> KeyRange {
    KeyRange::One(Bytes::from_static(key.as_bytes()))
}

fn put(key: &'static str, value: &'static str) -> Request {
    Request::Put(PutRequest {
        key: key.into(),
        value: value.into(),
        ..PutRequest::default()
    })
}

fn get(key: &'static str) -> Request {
    Request::Range(RangeRequest::of(one(key)))
}

fn delete(key: &'static str) -> Request {
    Request::Delete(DeleteRangeRequest {
        range: one(key),
        prev_kv: false,
    })
}

fn found(key: &'static str, value: &'static str, revision: i64, version: i64) -> Reply {
    let kv = KeyValue {
        key: key.into(),
        value: value.into(),
        create_revision: revision + 1 - version,
        mod_revision: revision,
        version,
        ..KeyValue::default()
    };
    Reply::Range(RangeReply {
        kvs: vec![kv],
        more: false,
        count: 1,
    })
}

fn done(revision: i64, reply: Reply) -> Outcome {
    Outcome::Done { revision, reply }
}

fn was_put(revision: i64) -> Outcome {
    done(revision, Reply::Put(PutReply::default()))
}

/// An operation from one second to another.
fn at(from: u64, to: u64, request: Request, outcome: Outcome) -> Operation {
    let (called, ended) = (Duration::from_secs(from), Duration::from_secs(to));
    Operation {
        client: 1,
        member: 0,
        called,
        ended,
        request,
        outcome,
    }
}

/// A history in which these requests took effect, in this order.
fn history(took_effect: &[Request], operations: Vec<Operation>) -> History {
    let mut state = State::empty();
    let mut history = History {
        operations,
        ..History::default()
    };
    for request in took_effect {
        let step = state.apply(request);
        state = step.state;
        history.revisions.insert(state.revision, step.changes);
    }
    history
}

/// Whether each of replay, search and durability finds something.
fn found_by(history: &History) -> (bool, bool, bool) {
    let facts = Facts::of(history, Clocks::TRUE);
    let (replay, search) = (replay::check(&facts), wing_gong::check(history));
    let durable = durable::check(history);
    println!("replay {replay:#?}\nsearch {search:#?}\ndurable {durable:#?}");
    // What one answer shows by itself, both find.
    assert!(search.overlooked.is_empty());
    assert!(search.impossible.is_empty() || !replay.is_empty());
    let search = search.unexplained;
    let any = !replay.is_empty() || !search.is_empty();
    assert_eq!(!linearizable::check(&facts).is_empty(), any);
    (!replay.is_empty(), !search.is_empty(), !durable.is_empty())
}

const FINE: (bool, bool, bool) = (false, false, false);

#[test]
fn a_plain_history_is_fine() {
    let effects = [put("a", "1"), put("a", "2"), delete("a")];
    let gone = Reply::Delete(DeleteRangeReply {
        deleted: 1,
        prev_kvs: Vec::new(),
    });
    let nothing = Reply::Range(RangeReply::default());
    let operations = vec![
        at(0, 1, put("a", "1"), was_put(2)),
        at(2, 3, get("a"), done(2, found("a", "1", 2, 1))),
        at(2, 6, put("a", "2"), was_put(3)),
        // Overlaps the put: either value would do, at its own revision.
        at(3, 4, get("a"), done(3, found("a", "2", 3, 2))),
        at(7, 8, delete("a"), done(4, gone)),
        at(8, 9, get("a"), done(4, nothing)),
    ];
    assert_eq!(found_by(&history(&effects, operations)), FINE);
}

#[test]
fn a_lost_write_is_found_by_all() {
    let operations = vec![
        at(0, 1, put("a", "1"), was_put(2)),
        at(2, 3, put("a", "2"), was_put(3)),
        at(4, 5, get("a"), done(2, found("a", "1", 2, 1))),
    ];
    assert_eq!(
        found_by(&history(&[put("a", "1")], operations)),
        (true, true, true)
    );
}

#[test]
fn a_write_that_another_replaced_at_its_revision_is_found() {
    let operations = vec![
        at(0, 1, put("a", "lost"), was_put(2)),
        at(2, 3, put("a", "kept"), was_put(2)),
    ];
    let (replay, _, durable) = found_by(&history(&[put("a", "kept")], operations));
    assert!(replay && durable);
}

#[test]
fn a_stale_read_is_found_by_both() {
    let effects = [put("a", "1"), put("a", "2")];
    let operations = vec![
        at(0, 1, put("a", "1"), was_put(2)),
        at(2, 3, put("a", "2"), was_put(3)),
        at(4, 5, get("a"), done(2, found("a", "1", 2, 1))),
    ];
    assert_eq!(
        found_by(&history(&effects, operations)),
        (true, true, false)
    );
}

#[test]
fn a_serializable_read_may_be_stale_but_not_made_up() {
    let effects = [put("a", "1"), put("a", "2")];
    let read = |from, client, outcome| {
        let mut request = RangeRequest::of(one("a"));
        request.serializable = true;
        let operation = at(from, from + 1, Request::Range(request), outcome);
        Operation {
            client,
            ..operation
        }
    };
    let is_wrong = |reads: Vec<Operation>, restarted: Option<u64>| {
        let mut operations = vec![
            at(0, 1, put("a", "1"), was_put(2)),
            at(3, 4, put("a", "2"), was_put(3)),
        ];
        operations.extend(reads);
        let mut history = history(&effects, operations);
        let starts = restarted.map(Duration::from_secs).into_iter().collect();
        history.run_facts.starts.insert(0, starts);
        let facts = Facts::of(&history, Clocks::TRUE);
        assert_eq!(linearizable::check(&facts), []);
        !serializable::check(&facts).is_empty()
    };
    let old = || done(2, found("a", "1", 2, 1));
    let new = || done(3, found("a", "2", 3, 2));
    assert!(!is_wrong(vec![read(6, 2, old()), read(8, 2, new())], None));
    // Of no revision, and of one that was not yet asked for.
    let mixed = done(2, found("a", "2", 2, 1));
    assert!(is_wrong(vec![read(6, 2, mixed)], None));
    assert!(is_wrong(vec![read(1, 2, new())], None));
    // Back, at the same member, for the same client, while it lived.
    let back = || vec![read(6, 2, new()), read(8, 2, old())];
    assert!(is_wrong(back(), None));
    assert!(!is_wrong(back(), Some(7)));
    assert!(!is_wrong(vec![read(6, 2, new()), read(8, 3, old())], None));
}

#[test]
fn a_read_from_the_future_is_found_by_both() {
    let operations = vec![
        at(0, 1, get("a"), done(2, found("a", "1", 2, 1))),
        at(2, 3, put("a", "1"), was_put(2)),
    ];
    assert_eq!(
        found_by(&history(&[put("a", "1")], operations)),
        (true, true, false)
    );
}

#[test]
fn an_unknown_write_may_take_effect_later_or_never() {
    let unknown = || Outcome::Unknown("timed out".to_owned());
    let operations = || {
        vec![
            at(0, 1, put("a", "1"), unknown()),
            at(0, 1, put("a", "2"), unknown()),
            at(2, 3, get("a"), done(1, Reply::Range(RangeReply::default()))),
            at(4, 5, get("a"), done(2, found("a", "2", 2, 1))),
        ]
    };
    assert_eq!(found_by(&history(&[put("a", "2")], operations())), FINE);
    assert_eq!(
        found_by(&history(&[put("a", "2"), put("a", "1")], operations())),
        FINE
    );
    // But not before it was asked for, and not twice.
    let mut early = operations();
    early[1].called = Duration::from_secs(6);
    assert_eq!(
        found_by(&history(&[put("a", "2")], early)),
        (true, true, false)
    );
    let twice = history(&[put("a", "2"), put("a", "2")], operations());
    let (replay, _, _) = found_by(&twice);
    assert!(replay);
}

#[test]
fn a_refused_write_that_took_effect_is_found() {
    let operations = vec![
        at(
            0,
            1,
            put("a", "1"),
            Outcome::Refused("too large".to_owned()),
        ),
        at(2, 3, get("a"), done(2, found("a", "1", 2, 1))),
    ];
    assert_eq!(
        found_by(&history(&[put("a", "1")], operations)),
        (true, true, false)
    );
}

#[test]
fn writes_in_the_wrong_order_of_time_are_found() {
    let effects = [put("a", "2"), put("a", "1")];
    let operations = vec![
        at(0, 1, put("a", "1"), was_put(3)),
        at(2, 3, put("a", "2"), was_put(2)),
        at(4, 5, get("a"), done(3, found("a", "1", 3, 2))),
    ];
    assert_eq!(
        found_by(&history(&effects, operations)),
        (true, true, false)
    );
}

#[test]
fn unknown_deletes_are_given_to_revisions_so_that_all_are_explained() {
    let unknown = || Outcome::Unknown("timed out".to_owned());
    let both = Request::Delete(DeleteRangeRequest {
        range: KeyRange::Span {
            start: Bytes::from_static(b"a"),
            end: None,
        },
        prev_kv: false,
    });
    let effects = [
        put("a", "1"),
        delete("a"),
        put("a", "2"),
        put("b", "3"),
        both.clone(),
    ];
    // The first delete of "a" could be either request; only one way explains both.
    let operations = vec![
        at(0, 1, both, unknown()),
        at(0, 1, delete("a"), unknown()),
        at(0, 1, put("a", "1"), was_put(2)),
        at(4, 5, put("a", "2"), was_put(4)),
        at(6, 7, put("b", "3"), was_put(5)),
    ];
    assert_eq!(found_by(&history(&effects, operations)), FINE);
}

fn watched(responses: Vec<(i64, Vec<detcd_core::api::Change>)>) -> Watched {
    let range = KeyRange::Span {
        start: Bytes::from_static(b"a"),
        end: None,
    };
    let came = vec![Duration::from_secs(9); responses.len()];
    Watched {
        responses,
        came,
        ..Watched::new("watcher", range, 2)
    }
}

/// Three changes, what a watcher saw of them, and whether that is wrong.
fn watch_problems(
    forge: impl FnOnce(&mut Vec<(i64, Vec<detcd_core::api::Change>)>) -> Vec<(usize, i64)>,
) -> Vec<Violation> {
    let mut history = history(&[put("a", "1"), put("b", "2"), delete("a")], Vec::new());
    let strip = |mut change: detcd_core::api::Change| {
        change.prev_kv = None;
        change
    };
    let mut responses: Vec<(i64, Vec<_>)> = history
        .revisions
        .iter()
        .map(|(revision, changes)| (*revision, changes.iter().cloned().map(strip).collect()))
        .collect();
    let progress = forge(&mut responses);
    let mut watched = watched(responses);
    watched.progress = progress;
    history.watchers.push(watched);
    watch::check(&history)
}

#[test]
fn a_watcher_that_saw_everything_once_is_fine() {
    assert_eq!(watch_problems(|_| vec![(1, 2), (3, 4)]), []);
    let joined = |responses: &mut Vec<(i64, Vec<detcd_core::api::Change>)>| {
        let second = responses.remove(1);
        responses[0].0 = 4;
        responses[0].1.extend(second.1);
        Vec::new()
    };
    assert_eq!(watch_problems(joined), []);
}

/// Whether a watcher that should see these kinds only, and had this gap, may have seen that.
fn is_filtered_right(no_put: bool, no_delete: bool, gap: Option<(i64, i64)>, seen: &[i64]) -> bool {
    let mut history = history(&[put("a", "1"), put("b", "2"), delete("a")], Vec::new());
    let changes = seen.iter().map(|revision| {
        let mut changes = history.revisions[revision].clone();
        changes.iter_mut().for_each(|change| change.prev_kv = None);
        (*revision, changes)
    });
    let gaps = gap.map(|(asked, compacted)| Gap {
        asked,
        compacted,
        at: Duration::ZERO,
    });
    history.watchers = vec![Watched {
        no_put,
        no_delete,
        gaps: gaps.into_iter().collect(),
        ..watched(changes.collect())
    }];
    watch::check(&history).is_empty()
}

#[test]
fn filters_and_compactions_are_respected() {
    assert!(is_filtered_right(true, false, None, &[4]));
    assert!(!is_filtered_right(true, false, None, &[2, 4]));
    assert!(is_filtered_right(false, true, None, &[2, 3]));
    assert!(!is_filtered_right(false, true, None, &[2, 3, 4]));
    assert!(is_filtered_right(false, false, Some((2, 3)), &[3, 4]));
    assert!(!is_filtered_right(false, false, Some((2, 3)), &[4]));
}

#[test]
fn forged_watches_are_found() {
    type Forgery = fn(&mut Vec<(i64, Vec<detcd_core::api::Change>)>) -> Vec<(usize, i64)>;
    let forgeries: [(&str, Forgery); 6] = [
        ("missing in the middle", |responses| {
            responses.remove(1);
            Vec::new()
        }),
        ("missing at the end", |responses| {
            responses.pop();
            Vec::new()
        }),
        ("doubled", |responses| {
            responses.insert(1, responses[0].clone());
            Vec::new()
        }),
        ("out of order", |responses| {
            responses.swap(0, 1);
            Vec::new()
        }),
        ("another value", |responses| {
            responses[0].1[0].kv.value = Bytes::from_static(b"other");
            Vec::new()
        }),
        ("progress ahead of events", |_| vec![(1, 3)]),
    ];
    for (name, forgery) in forgeries {
        assert_eq!(watch_problems(forgery).len(), 1, "{name}");
    }
}

#[test]
fn what_an_event_replaced_may_only_be_missing_behind_a_compaction() {
    // The watcher wants to know what was replaced, and is not told, at second 9.
    let is_wrong = |called: u64, outcome: Outcome| {
        let mut history = history(&[put("a", "1"), put("a", "2")], Vec::new());
        let compact = Request::Compact(CompactRequest {
            revision: 3,
            physical: false,
        });
        history
            .operations
            .push(at(called, called + 1, compact, outcome));
        let strip = |changes: &Vec<detcd_core::api::Change>| {
            let mut changes = changes.clone();
            changes.iter_mut().for_each(|change| change.prev_kv = None);
            changes
        };
        let reported = history.revisions.iter();
        let reported = reported
            .map(|(at, changes)| (*at, strip(changes)))
            .collect();
        let prev_kv = true;
        let watched = watched(reported);
        history.watchers.push(Watched { prev_kv, ..watched });
        !watch::check(&history).is_empty()
    };
    let unknown = || Outcome::Unknown("timed out".to_owned());
    assert!(!is_wrong(1, done(3, Reply::Compact)));
    assert!(!is_wrong(8, unknown()));
    assert!(is_wrong(1, Outcome::Refused("no".to_owned())));
    assert!(is_wrong(10, unknown()));
}

/// Many clients that never learn what became of their writes, and one that reads.
#[test]
fn many_unknown_writes_do_not_make_the_search_wide() {
    let unknown = || Outcome::Unknown("timed out".to_owned());
    let value = |n: u64| Bytes::from(format!("v{n}"));
    let put = |n: u64| {
        Request::Put(PutRequest {
            key: "a".into(),
            value: value(n),
            ..PutRequest::default()
        })
    };
    let mut operations: Vec<Operation> =
        (0..100).map(|n| at(n, n + 1, put(n), unknown())).collect();
    operations.extend((0..30).map(|n| at(n, n + 1, delete("a"), unknown())));
    let mut effects = Vec::new();
    let mut revision = 1;
    for n in (0..100).step_by(3) {
        effects.push(put(n));
        revision += 1;
        let version = revision - 1;
        let kv = KeyValue {
            key: "a".into(),
            value: value(n),
            create_revision: 2,
            mod_revision: revision,
            version,
            ..KeyValue::default()
        };
        let found = RangeReply {
            kvs: vec![kv],
            more: false,
            count: 1,
        };
        let outcome = done(revision, Reply::Range(found));
        operations.push(at(200 + n, 201 + n, get("a"), outcome));
    }
    let fine = history(&effects, operations.clone());
    assert_eq!(found_by(&fine), FINE);
    // The last read is answered with what the read before it saw: no, with a value long gone.
    let first = operations[130].outcome.clone();
    operations.last_mut().expect("there are reads").outcome = first;
    assert_eq!(
        found_by(&history(&effects, operations)),
        (true, true, false)
    );
}

#[test]
fn a_final_state_that_nobody_applied_is_found() {
    let operations = || vec![at(0, 1, put("a", "1"), was_put(2))];
    let reported = |value: Option<&'static str>| {
        let mut history = history(&[put("a", "1")], operations());
        let kv = value.map(|value| KeyValue {
            key: "a".into(),
            value: value.into(),
            create_revision: 2,
            mod_revision: 2,
            version: 1,
            ..KeyValue::default()
        });
        let keys = kv.into_iter().map(|kv| (kv.key.clone(), kv));
        history.run_facts.keys = Some(keys.collect());
        durable::check(&history).len()
    };
    assert_eq!(reported(Some("1")), 0);
    // The state differs, and an acknowledged write is gone.
    assert_eq!(reported(Some("2")), 2);
    assert_eq!(reported(None), 2);
}

#[test]
fn a_history_that_is_told_otherwise_is_found() {
    let applied = history(&[put("a", "1"), put("b", "2")], Vec::new()).revisions;
    let reported = |effects: &[Request], from| {
        let mut reported = history(effects, Vec::new()).revisions;
        reported.retain(|at, _| *at >= from);
        durable::retold(0, &reported, &applied, from).map(|found| found.about.revisions)
    };
    let at = |revision| Some(BTreeSet::from([revision]));
    assert_eq!(reported(&[put("a", "1"), put("b", "2")], 2), None);
    assert_eq!(reported(&[put("a", "0"), put("b", "2")], 3), None);
    assert_eq!(reported(&[put("a", "1"), put("b", "3")], 2), at(3));
    assert_eq!(reported(&[put("a", "1")], 2), at(3));
    assert_eq!(
        reported(&[put("a", "1"), put("b", "2"), delete("a")], 2),
        at(4)
    );
}
