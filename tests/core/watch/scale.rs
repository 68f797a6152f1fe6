//! A hundred thousand watchers: what a change costs is counted in steps, not in time.

use crate::world::{World, watch};
use bytes::Bytes;
use detcd_core::api::{KeyRange, Millis, StreamId, WatchRequest};
use detcd_core::effect::Effect;
use detcd_core::watch::{Budget, Hub, HubConfig};
use std::collections::BTreeSet;

const WATCHERS: u64 = 100_000;

fn hub() -> Hub {
    Hub::new(HubConfig::new(Millis(600_000), 1 << 20), 1, 0)
}

/// Creates a watcher; its stream takes everything.
fn create(hub: &mut Hub, stream: StreamId, range: KeyRange) {
    hub.request(Millis(0), stream, WatchRequest::Create(watch(range)));
    drain(hub);
}

/// Polls until nothing is left, with every response taken at once; returns who was sent events.
fn drain(hub: &mut Hub) -> Vec<(StreamId, i64)> {
    let mut sent = Vec::new();
    while let Some(effect) = hub.poll() {
        let Effect::WatchSend { stream, response } = effect else {
            panic!("no reads are needed: {effect}");
        };
        hub.credit(stream, 1);
        if !response.events.is_empty() {
            sent.push((stream, response.watch_id));
        }
    }
    sent
}

/// Writes one key; returns who was sent it, and the steps that it took.
fn put(hub: &mut Hub, world: &mut World, key: &Bytes) -> (Vec<(StreamId, i64)>, u64) {
    let before = hub.stats().steps;
    let changes = world.write(&[(key.clone(), Some(Bytes::from_static(b"value")))]);
    hub.changes(world.revision, &changes);
    let sent = drain(hub);
    (sent, hub.stats().steps - before)
}

fn key(n: u64) -> Bytes {
    Bytes::from(format!("key/{n:08}"))
}

#[test]
fn a_change_of_one_of_many_watched_keys() {
    let (mut hub, mut world) = (hub(), World::new());
    hub.open(StreamId(1));
    for n in 0..WATCHERS {
        create(&mut hub, StreamId(1), KeyRange::One(key(n)));
    }
    let (sent, steps) = put(&mut hub, &mut world, &key(54_321));
    assert_eq!(sent, [(StreamId(1), 54_321)]);
    assert!(steps <= 3, "{steps} steps");
    hub.check();
}

#[test]
fn a_change_within_few_of_many_spans() {
    let (mut hub, mut world) = (hub(), World::new());
    hub.open(StreamId(1));
    for n in 0..WATCHERS {
        // Spans of three keys each: a key lies in three of them.
        let span = KeyRange::Span {
            start: key(n),
            end: Some(key(n + 3)),
        };
        create(&mut hub, StreamId(1), span);
    }
    let (sent, steps) = put(&mut hub, &mut world, &key(50_000));
    let ids: BTreeSet<i64> = sent.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, BTreeSet::from([49_998, 49_999, 50_000]));
    assert!(steps <= 100, "{steps} steps");

    // And nobody at all.
    let (sent, steps) = put(&mut hub, &mut world, &Bytes::from_static(b"other"));
    assert!(sent.is_empty());
    assert!(steps <= 40, "{steps} steps");
}

#[test]
fn a_change_of_the_key_that_everyone_watches() {
    let (mut hub, mut world) = (hub(), World::new());
    for n in 0..WATCHERS {
        hub.open(StreamId(n));
        create(&mut hub, StreamId(n), KeyRange::One(key(7)));
    }
    let (sent, steps) = put(&mut hub, &mut world, &key(7));
    assert_eq!(sent.len() as u64, WATCHERS);
    assert!(steps <= WATCHERS + 3, "one step each: {steps}");

    let (sent, steps) = put(&mut hub, &mut world, &key(8));
    assert!(sent.is_empty() && steps <= 3, "{steps} steps");
}

#[test]
fn a_response_is_built_when_it_is_polled() {
    let (mut hub, mut world) = (hub(), World::new());
    hub.open(StreamId(1));
    for _ in 0..WATCHERS {
        create(&mut hub, StreamId(1), KeyRange::One(key(7)));
    }
    let before = hub.stats();
    let changes = world.write(&[(key(7), Some(Bytes::new()))]);
    hub.changes(world.revision, &changes);
    let told = hub.stats();
    assert!(
        told.steps - before.steps <= 3,
        "telling the hub visits nobody"
    );
    assert!(matches!(hub.poll(), Some(Effect::WatchSend { .. })));
    let polled = hub.stats();
    assert_eq!(
        polled.steps - told.steps,
        1,
        "a poll visits as many as it takes to send one"
    );
}

/// The work of a round is bounded, whatever is to be done; and nobody loses anything by it.
#[test]
fn a_round_serves_others_after_its_budget() {
    const WORK: u64 = 128;
    let (mut hub, mut world) = (hub(), World::new());
    for n in 0..WATCHERS {
        hub.open(StreamId(n));
        create(&mut hub, StreamId(n), KeyRange::One(key(7)));
    }
    let mut sent = vec![0; WATCHERS as usize];
    let mut rounds = 0;
    loop {
        // The second change comes while the first is on its way.
        if rounds == 0 || rounds == 100 {
            let changes = world.write(&[(key(7), Some(Bytes::new()))]);
            hub.changes(world.revision, &changes);
        }
        let steps_before = hub.stats().steps;
        let mut budget = Budget::new(WORK);
        while let Some(effect) = hub.poll_within(&mut budget) {
            let Effect::WatchSend { stream, response } = effect else {
                panic!("no reads are needed: {effect}");
            };
            sent[stream.0 as usize] += response.events.len();
        }
        assert!(hub.stats().steps - steps_before <= WORK);
        rounds += 1;
        if !budget.is_spent() {
            break;
        }
    }
    assert!(rounds > 2 * WATCHERS / WORK, "{rounds} rounds");
    assert!(sent.iter().all(|events| *events == 2));
    hub.check();
}

/// Changes that come faster than they can be told get a larger share of the loop.
#[test]
fn a_backlog_grows_the_budget() {
    let (mut hub, mut world) = (hub(), World::new());
    hub.open(StreamId(1));
    create(&mut hub, StreamId(1), KeyRange::One(key(7)));
    let idle = hub.budget();
    for _ in 0..1000 {
        let changes = world.write(&[(key(7), Some(Bytes::new()))]);
        hub.changes(world.revision, &changes);
    }
    assert_ne!(hub.budget(), idle);
    drain(&mut hub);
    assert_eq!(hub.budget(), idle);
    hub.check();
}

#[test]
fn a_client_that_reads_nothing_holds_nothing() {
    let (mut hub, mut world) = (hub(), World::new());
    hub.open(StreamId(1));
    for _ in 0..WATCHERS {
        create(&mut hub, StreamId(1), KeyRange::One(key(7)));
    }
    // No credit is given back: as many responses as there is credit, whatever is written.
    let mut sent = 0;
    for _ in 0..3 {
        let changes = world.write(&[(key(7), Some(Bytes::new()))]);
        hub.changes(world.revision, &changes);
        while hub.poll().is_some() {
            sent += 1;
        }
    }
    assert_eq!(sent, 128);
    assert_eq!(hub.stats().unsynced as u64, WATCHERS);
    hub.check();

    // All catch up from memory, once each but for those that had the first.
    hub.credit(StreamId(1), 1);
    let responses = drain(&mut hub);
    assert_eq!(responses.len() as u64, WATCHERS);
    assert_eq!(hub.stats().unsynced, 0);

    hub.close(StreamId(1));
    assert_eq!((hub.stats().watchers, hub.stats().streams), (0, 0));
    hub.check();
}
