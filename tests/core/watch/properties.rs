//! The laws that watchers rely on, against a model of what each client has seen: every watcher is
//! sent exactly the changes that it asked for, from its start, in order, once, revision by
//! revision; headers and progress never run ahead; nobody is sent more than it takes; and once
//! everyone takes everything, nobody is owed anything.

use crate::world::{World, watch};
use bytes::Bytes;
use detcd_core::api::{
    KeyChange, KeyRange, Millis, StreamId, WatchCreate, WatchId, WatchRequest, WatchResponse,
};
use detcd_core::effect::Effect;
use detcd_core::watch::{Hub, HubConfig};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::collections::{BTreeMap, VecDeque};

const CREDITS: u32 = 4;
const FRAGMENT_BYTES: usize = 400;
const INTERVAL: Millis = Millis(100);

/// Something that happens to the hub. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    /// Revisions handed over as one batch.
    Write(Vec<Vec<(u8, Option<u8>)>>),
    /// Revisions that only a snapshot brings, and whether it brings a compaction too.
    Restore(Vec<Vec<(u8, Option<u8>)>>, bool),
    Compact {
        behind: i64,
    },
    Open,
    Close {
        stream: usize,
    },
    Create {
        stream: usize,
        create: WatchCreate,
        start: Start,
    },
    Cancel {
        stream: usize,
        id: i64,
    },
    Progress {
        stream: usize,
    },
    Credit {
        stream: usize,
        n: u32,
    },
    Pass(u64),
    /// Polls at most this often; other steps may come between.
    Poll(usize),
    /// Answers the read that was asked for, with about this many changes.
    Read(usize),
}

#[derive(Clone, Copy, Debug)]
enum Start {
    Now,
    Past(i64),
    Future(i64),
}

/// What the client of a watcher knows.
struct Watcher {
    create: WatchCreate,
    /// Everything before is delivered.
    next: i64,
    is_created: bool,
    fragments: Vec<KeyChange>,
}

struct Client {
    credits: i64,
    watchers: BTreeMap<i64, Watcher>,
    next_id: i64,
    /// Answers that are due, in order.
    answers: VecDeque<WatchReply>,
    /// Watchers that a compaction has canceled, as their ids being free shows; the client has yet
    /// to be told.
    dying: Vec<(i64, Watcher)>,
    progress_asked: bool,
    /// It asked for progress, ever; and it had a watcher of a revision to come, ever.
    asked_ever: bool,
    future_ever: bool,
    /// The watcher in the middle of whose fragments the stream is.
    fragmented: Option<i64>,
}

#[derive(Debug)]
enum WatchReply {
    Refused,
    Created(i64),
    Canceled(i64),
    Compacted(i64),
}

struct Run {
    hub: Hub,
    world: World,
    now: Millis,
    clients: BTreeMap<StreamId, Client>,
    opened: u64,
    asked: Option<(u64, i64, i64)>,
}

impl Run {
    fn new(recent_events_max: usize) -> Run {
        let config = HubConfig {
            stream_credits: CREDITS,
            recent_events_max,
            ..HubConfig::new(INTERVAL, FRAGMENT_BYTES)
        };
        let world = World::new();
        Run {
            hub: Hub::new(config, world.revision, world.compact_revision),
            world,
            now: Millis(0),
            clients: BTreeMap::new(),
            opened: 0,
            asked: None,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write(revisions) => {
                let changes = self.write(revisions);
                self.hub.changes(self.world.revision, &changes);
            }
            Step::Restore(revisions, compacts) => {
                self.write(revisions);
                if compacts {
                    // A state that replaces another one was compacted at least as far.
                    let compacted = self.world.revision - 1;
                    self.world.compact_revision = self.world.compact_revision.max(compacted);
                }
                self.hub
                    .restored(self.world.revision, self.world.compact_revision);
            }
            Step::Compact { behind } => {
                let revision = self.world.revision - behind;
                if revision > self.world.compact_revision {
                    self.world.compact_revision = revision;
                    self.hub.compacted(revision);
                }
            }
            Step::Open => self.open(),
            Step::Pass(ms) => {
                self.now = self.now + Millis(ms);
                self.hub.tick(self.now);
                assert!(
                    self.hub
                        .deadline()
                        .is_none_or(|deadline| deadline > self.now)
                );
            }
            Step::Poll(times) => {
                for _ in 0..times {
                    if !self.poll() {
                        break;
                    }
                }
            }
            Step::Read(limit) => self.read(limit),
            Step::Close { stream } => {
                if let Some(stream) = self.pick(stream) {
                    self.clients.remove(&stream);
                    self.hub.close(stream);
                }
            }
            Step::Create {
                stream,
                create,
                start,
            } => {
                if let Some(stream) = self.pick(stream) {
                    self.create(stream, create, start);
                }
            }
            Step::Cancel { stream, id } => {
                if let Some(stream) = self.pick(stream) {
                    self.cancel(stream, id);
                }
            }
            Step::Progress { stream } => {
                if let Some(stream) = self.pick(stream) {
                    let client = self.client(stream);
                    (client.progress_asked, client.asked_ever) = (true, true);
                    self.hub.request(self.now, stream, WatchRequest::Progress);
                }
            }
            Step::Credit { stream, n } => {
                if let Some(stream) = self.pick(stream) {
                    self.client(stream).credits += i64::from(n);
                    self.hub.credit(stream, n);
                }
            }
        }
        self.hub.check();
    }

    fn pick(&self, number: usize) -> Option<StreamId> {
        let count = self.clients.len();
        (count > 0).then(|| *self.clients.keys().nth(number % count).unwrap())
    }

    fn client(&mut self, stream: StreamId) -> &mut Client {
        self.clients
            .get_mut(&stream)
            .expect("nothing is sent on a closed stream")
    }

    fn write(&mut self, revisions: Vec<Vec<(u8, Option<u8>)>>) -> Vec<KeyChange> {
        let mut changes = Vec::new();
        for revision in revisions {
            let writes: Vec<(Bytes, Option<Bytes>)> = revision
                .into_iter()
                .map(|(at, value)| (key(at), value.map(|value| Bytes::from(vec![value; 20]))))
                .collect();
            changes.extend(self.world.write(&writes));
        }
        changes
    }

    fn open(&mut self) {
        self.opened += 1;
        let stream = StreamId(self.opened);
        self.hub.open(stream);
        let client = Client {
            credits: i64::from(CREDITS),
            watchers: BTreeMap::new(),
            next_id: 0,
            answers: VecDeque::new(),
            dying: Vec::new(),
            progress_asked: false,
            asked_ever: false,
            future_ever: false,
            fragmented: None,
        };
        self.clients.insert(stream, client);
    }

    fn create(&mut self, stream: StreamId, mut create: WatchCreate, start: Start) {
        let revision = self.world.revision;
        create.start_revision = match start {
            Start::Now => 0,
            Start::Past(by) => (revision - by).max(1),
            Start::Future(by) => revision + by,
        };
        let is_compacted = start_is_compacted(&create, &self.world);
        if is_compacted && self.client(stream).watchers.contains_key(&create.id.0) {
            // Which answer is right depends on whether that watcher died; transcripts tell.
            return;
        }
        let watchers = self.hub.stats().watchers;
        let request = WatchRequest::Create(create.clone());
        self.hub.request(self.now, stream, request);
        let is_accepted = self.hub.stats().watchers > watchers;

        let client = self.client(stream);
        let is_empty = match &create.range {
            KeyRange::Span {
                start,
                end: Some(end),
            } => start >= end,
            _ => false,
        };
        let mut id = create.id.0;
        if id != 0 && is_accepted {
            client.bury(id);
        }
        if is_empty || client.watchers.contains_key(&id) && id != 0 {
            assert!(!is_accepted);
            client.answers.push_back(WatchReply::Refused);
            return;
        }
        if id == 0 {
            // Clients choose other numbers here: whether one is free would depend on what died.
            while client.watchers.contains_key(&client.next_id) {
                client.next_id += 1;
            }
            id = client.next_id;
            client.next_id += 1;
        }
        client.answers.push_back(WatchReply::Created(id));
        assert_eq!(is_accepted, !is_compacted);
        if is_compacted {
            client.answers.push_back(WatchReply::Compacted(id));
            return;
        }
        let start = create.start_revision;
        let next = if start == 0 { revision + 1 } else { start };
        let watcher = Watcher {
            create,
            next,
            is_created: false,
            fragments: Vec::new(),
        };
        client.watchers.insert(id, watcher);
        client.future_ever |= start > revision;
    }

    fn cancel(&mut self, stream: StreamId, id: i64) {
        let watchers = self.hub.stats().watchers;
        let request = WatchRequest::Cancel(WatchId(id));
        self.hub.request(self.now, stream, request);
        let is_canceled = self.hub.stats().watchers < watchers;
        let client = self.client(stream);
        if !is_canceled {
            client.bury(id);
            return;
        }
        client.watchers.remove(&id).expect("a watcher that exists");
        client.answers.push_back(WatchReply::Canceled(id));
        // Fragments that were decided are still sent; none is begun.
        if client.fragmented == Some(id) {
            client.fragmented = Some(i64::MIN);
        }
    }

    fn read(&mut self, limit: usize) {
        if let Some((id, from, to)) = self.asked.take() {
            let result = self.world.read(from, to, limit);
            self.hub.caught_up(id, result);
        }
    }

    fn poll(&mut self) -> bool {
        let Some(effect) = self.hub.poll() else {
            return false;
        };
        match effect {
            Effect::WatchSend { stream, response } => self.receive(stream, response),
            Effect::CatchUp { catch_up, from, to } => {
                assert!(self.asked.is_none(), "one read at a time");
                self.asked = Some((catch_up, from, to));
            }
            other => panic!("not an effect of the hub here: {other}"),
        }
        self.hub.check();
        true
    }

    fn receive(&mut self, stream: StreamId, response: WatchResponse) {
        let client = self.clients.get_mut(&stream).expect("the stream is open");
        assert!(
            client.fragmented.is_some() || client.credits > 0,
            "{response} without credit"
        );
        client.credits -= 1;
        if response.created || response.canceled {
            answer(client, &self.world, &response);
        } else if response.events.is_empty() {
            progress(client, &self.world, &response);
        } else {
            events(client, &self.world, response);
        }
    }

    /// Gives everyone credit and answers every read, until nothing is left to do.
    fn settle(&mut self, limit: usize) {
        for _ in 0..100_000 {
            if self.poll() {
                continue;
            }
            if self.asked.is_some() {
                self.read(limit);
                continue;
            }
            let poor = self.clients.iter().find(|(_, client)| client.credits <= 0);
            let Some(stream) = poor.map(|(stream, _)| *stream) else {
                return;
            };
            self.step(Step::Credit {
                stream: self.position(stream),
                n: 10,
            });
        }
        panic!("the hub never comes to rest");
    }

    fn position(&self, stream: StreamId) -> usize {
        self.clients.keys().position(|id| *id == stream).unwrap()
    }

    /// What holds when nothing is left to do.
    fn assert_nothing_is_owed(&self) {
        assert_eq!(self.hub.stats().unsynced, 0);
        for client in self.clients.values() {
            assert!(client.answers.is_empty() && client.dying.is_empty());
            // With one in the future, the others are answered one by one, and there may be none.
            assert!(!client.progress_asked || client.future_ever);
            for watcher in client.watchers.values() {
                let owed = self
                    .world
                    .owed(&watcher.create, watcher.next, self.world.revision);
                assert_eq!(owed, [], "everything is delivered");
            }
        }
    }
}

impl Client {
    /// The hub knows no watcher `id`: if the client still does, a compaction has canceled it.
    fn bury(&mut self, id: i64) {
        if let Some(watcher) = self.watchers.remove(&id) {
            self.dying.push((id, watcher));
        }
    }
}

fn start_is_compacted(create: &WatchCreate, world: &World) -> bool {
    create.start_revision != 0 && create.start_revision < world.compact_revision
}

fn answer(client: &mut Client, world: &World, response: &WatchResponse) {
    let id = response.watch_id;
    if response.canceled && response.compact_revision != 0 {
        // It was decided then, and may have waited for credit since.
        assert!(response.compact_revision <= world.compact_revision);
        assert_eq!(response.revision, 0);
        if matches!(client.answers.front(), Some(WatchReply::Compacted(due)) if *due == id) {
            client.answers.pop_front();
            return;
        }
        // Not a moment too early: of what it needs, something is gone.
        if !client.dying.iter().any(|(dying, _)| *dying == id) {
            client.bury(id);
        }
        let dead = client.dying.iter().position(|(dying, _)| *dying == id);
        let (_, watcher) = client.dying.remove(dead.expect("a watcher that exists"));
        assert!(watcher.is_created, "created comes first");
        let needed = watcher.next;
        assert!(
            needed < response.compact_revision,
            "{response}, needed {needed}"
        );
        return;
    }
    let due = client.answers.pop_front();
    match due.unwrap_or_else(|| panic!("{response} answers nothing")) {
        WatchReply::Refused => {
            assert!(id == -1 && response.created && response.canceled);
            assert!(!response.cancel_reason.is_empty());
        }
        WatchReply::Created(due) => {
            assert!(id == due && response.created && !response.canceled);
            let dying = client.dying.iter_mut().filter(|(dying, _)| *dying == id);
            let mut known = dying
                .map(|(_, watcher)| watcher)
                .chain(client.watchers.get_mut(&id));
            if let Some(watcher) = known.find(|watcher| !watcher.is_created) {
                watcher.is_created = true;
            }
        }
        WatchReply::Canceled(due) => assert!(id == due && response.canceled && !response.created),
        WatchReply::Compacted(due) => panic!("{response} in the place of the end of {due}"),
    }
}

fn progress(client: &mut Client, world: &World, response: &WatchResponse) {
    assert!(response.revision <= world.revision);
    let reported: Vec<&Watcher> = if response.watch_id == -1 {
        assert!(std::mem::take(&mut client.progress_asked), "nobody asked");
        client.watchers.values().collect()
    } else {
        let watcher = &client.watchers[&response.watch_id];
        let one_by_one = client.asked_ever && client.future_ever;
        assert!(watcher.create.progress_notify || one_by_one);
        vec![watcher]
    };
    for watcher in reported {
        assert!(watcher.is_created, "progress of what is not there yet");
        let start = watcher.create.start_revision;
        assert!(
            start <= response.revision,
            "{response} before the start {start}"
        );
        let owed = world.owed(&watcher.create, watcher.next, response.revision);
        assert_eq!(owed, [], "progress never runs ahead");
    }
}

fn events(client: &mut Client, world: &World, response: WatchResponse) {
    let id = response.watch_id;
    if let Some(fragmented) = client.fragmented {
        assert!(
            fragmented == id || fragmented == i64::MIN,
            "fragments are not interrupted"
        );
    }
    let was_canceled = client.fragmented == Some(i64::MIN);
    client.fragmented = match (response.fragment, was_canceled) {
        (false, _) => None,
        (true, true) => Some(i64::MIN),
        (true, false) => Some(id),
    };
    if was_canceled {
        return;
    }
    // Of one that a compaction has canceled, what was decided before is still on its way.
    let dying = client.dying.iter_mut().filter(|(dying, _)| *dying == id);
    let watcher = dying
        .map(|(_, watcher)| watcher)
        .chain(client.watchers.get_mut(&id))
        .next()
        .expect("events of a watcher that exists");
    assert!(watcher.is_created, "created comes first");
    assert!(
        watcher.create.fragment || !response.fragment,
        "nobody agreed to fragments"
    );
    watcher.fragments.extend(response.events);
    if !response.fragment {
        let seen = std::mem::take(&mut watcher.fragments);
        let owed = world.owed(&watcher.create, watcher.next, response.revision);
        assert_eq!(
            seen, owed,
            "exactly what happened since, up to the header's revision"
        );
        watcher.next = response.revision + 1;
    }
}

fn key(at: u8) -> Bytes {
    Bytes::from(vec![b'a' + at])
}

fn any_range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        (0..6u8).prop_map(|at| KeyRange::One(key(at))),
        (0..6u8, 0..7u8).prop_map(|(start, end)| KeyRange::Span {
            start: key(start),
            end: Some(key(end))
        }),
        (0..6u8).prop_map(|start| KeyRange::Span {
            start: key(start),
            end: None
        }),
    ]
}

fn any_create() -> impl Strategy<Value = WatchCreate> {
    let options = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    let id = prop_oneof![6 => Just(0), 2 => 100..103i64, 1 => Just(-2)];
    (any_range(), id, options).prop_map(|(range, id, options)| WatchCreate {
        id: WatchId(id),
        progress_notify: options.0,
        no_put: options.1,
        no_delete: options.2,
        prev_kv: options.3,
        fragment: options.4,
        ..watch(range)
    })
}

fn any_revisions() -> impl Strategy<Value = Vec<Vec<(u8, Option<u8>)>>> {
    vec(
        vec((0..6u8, option::weighted(0.7, any::<u8>())), 1..5),
        1..5,
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    let start = prop_oneof![
        Just(Start::Now),
        (0..30i64).prop_map(Start::Past),
        (1..5i64).prop_map(Start::Future),
    ];
    let stream = 0..4usize;
    prop_oneof![
        8 => any_revisions().prop_map(Step::Write),
        1 => (any_revisions(), any::<bool>()).prop_map(|(r, c)| Step::Restore(r, c)),
        1 => (0..20i64).prop_map(|behind| Step::Compact { behind }),
        2 => Just(Step::Open),
        1 => stream.clone().prop_map(|stream| Step::Close { stream }),
        6 => (stream.clone(), any_create(), start)
            .prop_map(|(stream, create, start)| Step::Create { stream, create, start }),
        2 => (stream.clone(), prop_oneof![0..6i64, 100..103i64]).prop_map(|(stream, id)| Step::Cancel { stream, id }),
        2 => stream.clone().prop_map(|stream| Step::Progress { stream }),
        5 => (stream, 1..6u32).prop_map(|(stream, n)| Step::Credit { stream, n }),
        2 => (1..200u64).prop_map(Step::Pass),
        4 => (1..6usize).prop_map(Step::Poll),
        6 => Just(Step::Poll(usize::MAX)),
        4 => (1..8usize).prop_map(Step::Read),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../proptest-regressions/core/watch.txt"),
        ))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_watcher_sees_what_it_asked_for(
        steps in vec(any_step(), 1..120),
        recent in 0..20usize,
        limit in 1..10usize,
    ) {
        let mut run = Run::new(recent);
        run.step(Step::Open);
        for step in steps {
            run.step(step);
        }
        run.settle(limit);
        run.assert_nothing_is_owed();
    }
}
