//! Watching: who is told of which change, and when.
//!
//! The [`Hub`] of a member holds the watchers of its clients. Like everything in this crate it
//! decides and does nothing: the methods say what happened, [`Hub::poll`] says what must be done
//! ([`Effect::WatchSend`], [`Effect::CatchUp`], [`Effect::WatchEnd`]), [`Hub::deadline`] says when
//! [`Hub::tick`] is due. Responses are only built when they are polled, and what happens between
//! two polls takes nothing from any watcher: so a driver polls within a [`Budget`], serves others,
//! and goes on. It waits only when nothing is left to poll.
//!
//! # How a change reaches a watcher
//! A watcher is either *synced* or *unsynced* (etcd's words).
//!
//! - Synced: everything of the past that concerns it is delivered. A change is matched against
//!   the groups of watchers with the same keys ([`table`]), and each group's watchers are walked
//!   along when polled, one at a time ([`fanout`]).
//! - Unsynced: it starts in the past, or its stream was out of credit when something happened. It
//!   remembers only the next revision that it needs, and is served from history: from the window
//!   of recent changes, or by one read of the store at a time, which serves every watcher whose
//!   next revision lies in what was read ([`catchup`]).
//!
//! So a client that does not read costs its watchers' few bytes and nothing else, and whoever is unsynced
//! loses nothing but time, unless a compaction passes it: then it is canceled, as in etcd.
//!
//! What a watcher is sent always ends with whole revisions (a response that is fragmented is one
//! whole), and the header's revision is never ahead of what was delivered. A watcher that starts at
//! a revision to come is told no progress before it (etcd from 3.6.2): clients go on from there.
//!
//! # Glossary
//! *Stream*: a client's connection, with its credit. *Group*: all watchers of the same keys.
//! *Next*: the first revision that a watcher has not been served. *Window*: a stretch of history
//! in memory. *Turn*: what a stream waits for.

mod budget;
mod catchup;
mod fanout;
mod progress;
mod respond;
mod spans;
mod stream;
mod table;
mod window;

pub use self::budget::Budget;

use self::catchup::History;
use self::progress::Walk;
use self::respond::Refusal;
use self::stream::{Stream, Turn};
use self::table::{EventFilter, GroupId, Slot, Table, Watcher};
use crate::api::{
    KeyChange, KeyRange, Millis, StreamId, WatchCreate, WatchId, WatchRequest, WatchResponse,
};
use crate::auth::{AuthState, Principal};
use crate::effect::Effect;
use crate::error::Error;
use crate::limits;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubConfig {
    /// How often a watcher that asked for it is told how far it is, if nothing else tells it.
    pub progress_interval: Millis,
    /// The size at which a response to a watcher that agreed to fragments is split.
    pub fragment_bytes: usize,
    /// Responses that a stream may have on their way before its watchers count as slow.
    pub stream_credits: u32,
    /// How many of the most recent changes are kept for unsynced watchers that need little.
    pub recent_events_max: usize,
}

impl HubConfig {
    /// A configuration with the limits of [`limits`].
    pub fn new(progress_interval: Millis, fragment_bytes: usize) -> HubConfig {
        HubConfig {
            progress_interval,
            fragment_bytes,
            stream_credits: limits::WATCH_STREAM_CREDITS,
            recent_events_max: limits::CATCH_UP_EVENTS_MAX,
        }
    }
}

/// How much a hub has to look after, and how much it has done: for metrics, and for tests that
/// bound the work that a change causes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubStats {
    pub streams: usize,
    pub watchers: usize,
    /// Unsynced watchers (etcd: slow watchers).
    pub unsynced: usize,
    /// Events sent so far.
    pub events_sent: u64,
    /// Steps of lookups and visits to watchers so far.
    pub steps: u64,
}

/// The watchers of one member. See the module's text.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    /// The last revision that the hub was told of.
    revision: i64,
    compact_revision: i64,
    table: Table,
    streams: BTreeMap<StreamId, Stream>,
    /// Which streams wait for what.
    turns: BTreeSet<(Turn, StreamId)>,
    /// Groups with changes on their way to their watchers.
    pending: BTreeSet<GroupId>,
    /// The changes that those groups have waiting.
    backlog: usize,
    history: History,
    /// When the progress reports of which stream are due.
    ticks: BTreeSet<(Millis, StreamId)>,
    /// Progress reports under way.
    reports: VecDeque<Walk>,
    /// Effects that are decided: at most the fragments of one response, and ends of streams.
    out: VecDeque<Effect>,
    unsynced: usize,
    events_sent: u64,
    steps: u64,
    /// Who may watch what.
    auth: Arc<AuthState>,
}

impl Hub {
    /// A hub without streams, at the present of the store.
    pub fn new(config: HubConfig, revision: i64, compact_revision: i64) -> Hub {
        assert!(config.progress_interval > Millis(0));
        assert!(config.fragment_bytes > 0 && config.stream_credits > 0);
        assert!(compact_revision <= revision);
        Hub {
            config,
            revision,
            compact_revision,
            table: Table::new(),
            streams: BTreeMap::new(),
            turns: BTreeSet::new(),
            pending: BTreeSet::new(),
            backlog: 0,
            history: History::new(revision),
            ticks: BTreeSet::new(),
            reports: VecDeque::new(),
            out: VecDeque::new(),
            unsynced: 0,
            events_sent: 0,
            steps: 0,
            auth: Arc::default(),
        }
    }

    /// A client opened a stream.
    pub fn open(&mut self, stream: StreamId) {
        let before = self
            .streams
            .insert(stream, Stream::new(self.config.stream_credits));
        assert!(before.is_none(), "a stream is opened once");
    }

    /// A client asks for something on its stream. Requests of a stream that has ended are late and
    /// ignored, as are its credits.
    pub fn request(&mut self, now: Millis, stream: StreamId, request: WatchRequest) {
        self.request_for(now, stream, request, None);
    }

    /// As [`Hub::request`], of a client that has said who it is.
    pub fn request_for(
        &mut self,
        now: Millis,
        stream: StreamId,
        request: WatchRequest,
        principal: Option<Arc<Principal>>,
    ) {
        if !self.streams.contains_key(&stream) {
            return;
        }
        match request {
            WatchRequest::Create(create) => self.create(now, stream, create, principal),
            WatchRequest::Cancel(WatchId(id)) => self.cancel(stream, id),
            WatchRequest::Progress if crate::mutant!(ProgressAhead) => {
                let progress = respond::progress(-1, self.revision);
                self.stream_mut(stream).answers.push_back(progress);
            }
            WatchRequest::Progress => self.stream_mut(stream).wants_progress = true,
        }
        self.settle_answers(stream);
    }

    /// A client may not create the watcher that it asked for.
    pub fn refuse(&mut self, stream: StreamId, error: &Error) {
        if self.streams.contains_key(&stream) {
            self.deny(stream, error);
            self.settle_answers(stream);
        }
    }

    /// Users and roles are these from now on. Whoever may not read any more what it watches is told
    /// so, and sees nothing that comes after.
    pub fn auth_changed(&mut self, auth: Arc<AuthState>) {
        self.auth = auth;
        if !self.auth.is_enabled() {
            return;
        }
        let slots = self
            .streams
            .values()
            .flat_map(|stream| stream.watchers.values());
        let denied = |slot: Slot| {
            let watcher = self.table.watcher(slot);
            let range = &self.table.group(watcher.group).range;
            let principal = watcher.principal.as_deref();
            let judged = self
                .auth
                .watches(principal.unwrap_or(&Principal::Anonymous), range);
            judged.err().map(|error| (slot, error))
        };
        let denied: Vec<(Slot, Error)> = slots.copied().filter_map(denied).collect();
        for (slot, error) in denied {
            let watcher = self.table.watcher(slot);
            let (stream, id) = (watcher.stream, watcher.id);
            self.drop_watcher(slot);
            let response = respond::taken_back(id, self.revision, &error);
            self.stream_mut(stream).answers.push_back(response);
            self.settle(stream);
        }
    }

    /// Who may do what, as far as the hub was told.
    pub fn auth(&self) -> &AuthState {
        &self.auth
    }

    fn deny(&mut self, stream: StreamId, error: &Error) {
        let refusal = Refusal::Denied(respond::denial(error));
        let response = respond::refused(refusal, self.revision);
        self.stream_mut(stream).answers.push_back(response);
    }

    /// Queues a stream that was answered, or ends it if its client takes none of its answers.
    fn settle_answers(&mut self, stream: StreamId) {
        if self.stream_mut(stream).answers.len() > limits::WATCH_STREAM_ANSWERS_MAX {
            self.close(stream);
            self.out.push_back(Effect::WatchEnd {
                stream,
                error: Error::TooManyRequests,
            });
            return;
        }
        self.settle(stream);
    }

    /// The client's connection took `n` responses.
    pub fn credit(&mut self, stream: StreamId, n: u32) {
        if let Some(state) = self.streams.get_mut(&stream) {
            state.credits += i64::from(n);
            self.settle(stream);
        }
    }

    /// The stream is gone, and all its watchers with it.
    pub fn close(&mut self, stream: StreamId) {
        let Some(state) = self.streams.remove(&stream) else {
            return;
        };
        if let Some(turn) = state.turn {
            self.turns.remove(&(turn, stream));
        }
        if let Some(tick) = state.tick {
            self.ticks.remove(&(tick, stream));
        }
        self.history.forget(stream);
        self.out.retain(
            |effect| !matches!(effect, Effect::WatchSend { stream: to, .. } if *to == stream),
        );
        self.unsynced -= state.unsynced.len();
        for slot in state.watchers.into_values() {
            self.remove(slot);
        }
    }

    /// What happened to the keys: `changes` are all there are of the revisions after the last
    /// known one, up to and including `revision`.
    pub fn changes(&mut self, revision: i64, changes: &[KeyChange]) {
        assert!(revision >= self.revision, "revisions only grow");
        assert!(
            changes
                .last()
                .is_none_or(|last| last.kv.mod_revision <= revision)
        );
        if self.table.len() == 0 {
            self.history.restart(revision);
        } else {
            self.history
                .extend(revision, changes, self.config.recent_events_max);
            self.spread(changes);
        }
        self.revision = revision;
    }

    /// History up to `revision` is gone, but for what was live then: whoever needs it still is
    /// canceled.
    pub fn compacted(&mut self, revision: i64) {
        assert!(revision <= self.revision, "only the past is compacted");
        if revision > self.compact_revision {
            self.compact_revision = revision;
            self.cancel_unsynced(revision);
        }
    }

    /// The whole state was replaced by a later one, so that what happened in between is only in
    /// the store: every watcher goes on from its own next revision.
    pub fn restored(&mut self, revision: i64, compact_revision: i64) {
        assert!(revision >= self.revision, "a snapshot never leads back");
        if revision > self.revision {
            self.unsync_all(revision);
            self.history.restart(revision);
            self.revision = revision;
        }
        self.compacted(compact_revision);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Millis) {
        self.start_reports(now);
    }

    /// When [`Hub::tick`] is due at the latest.
    pub fn deadline(&self) -> Option<Millis> {
        self.ticks.first().map(|(tick, _)| *tick)
    }

    /// What must be done next, or `None` until something else happens.
    pub fn poll(&mut self) -> Option<Effect> {
        self.poll_within(&mut Budget::UNLIMITED.clone())
    }

    /// As [`Hub::poll`], and `None` also once the budget is spent: then there may be more to do.
    pub fn poll_within(&mut self, budget: &mut Budget) -> Option<Effect> {
        loop {
            if let Some(effect) = self.out.pop_front() {
                return Some(effect);
            }
            if budget.is_spent() {
                if crate::mutant!(UnreachedWatchers) {
                    self.forget_unreached();
                }
                return None;
            }
            let sent_before = self.events_sent;
            let busy = self.send_answer()
                || match budget.is_for_unsynced() {
                    false => self.fan_out() || self.serve_from_history(),
                    true => self.serve_from_history() || self.fan_out(),
                }
                || self.send_progress();
            budget.spend(1 + self.events_sent - sent_before);
            if !busy {
                return self.read_history();
            }
        }
    }

    /// What may be done before others are served. It grows with what waits to be sent: changes that
    /// come faster than they can be told slow down whoever makes them.
    pub fn budget(&self) -> Budget {
        let shares = 1 + self.backlog / limits::WATCH_BACKLOG_SHARE;
        Budget::new(limits::WATCH_WORK_PER_ROUND * shares as u64)
    }

    pub fn stats(&self) -> HubStats {
        HubStats {
            streams: self.streams.len(),
            watchers: self.table.len(),
            unsynced: self.unsynced,
            events_sent: self.events_sent,
            steps: self.steps,
        }
    }

    fn create(
        &mut self,
        now: Millis,
        stream: StreamId,
        create: WatchCreate,
        principal: Option<Arc<Principal>>,
    ) {
        let revision = self.revision;
        let range = named(create.range);
        let asker = principal.as_deref().unwrap_or(&Principal::Anonymous);
        if let Err(error) = self.auth.watches(asker, &range) {
            self.deny(stream, &error);
            return;
        }
        let state = self.stream_mut(stream);
        if is_empty(&range) {
            state
                .answers
                .push_back(respond::refused(Refusal::RangeEmpty, revision));
            return;
        }
        if state.watchers.len() >= limits::WATCHERS_PER_STREAM_MAX {
            state
                .answers
                .push_back(respond::refused(Refusal::TooMany, revision));
            return;
        }
        let id = match create.id.0 {
            0 => state.pick_id(),
            id if state.watchers.contains_key(&id) => {
                state
                    .answers
                    .push_back(respond::refused(Refusal::DuplicateId, revision));
                return;
            }
            id => id,
        };
        state.answers.push_back(respond::created(id, revision));
        let start = create.start_revision;
        let floor = self.compaction_floor();
        if start != 0 && start < floor {
            self.stream_mut(stream)
                .answers
                .push_back(respond::compacted(id, floor));
            return;
        }
        // Only -1 is left below zero, before the first compaction: etcd starts it at the present.
        let next = if start <= 0 { revision + 1 } else { start };
        let slot = self.table.insert(
            range,
            Watcher {
                stream,
                id,
                next,
                group: 0,
                position: None,
                principal,
                filter: EventFilter {
                    no_put: create.no_put,
                    no_delete: create.no_delete,
                    prev_kv: create.prev_kv,
                },
                fragment: create.fragment,
                progress_notify: create.progress_notify,
                quiet: true,
            },
        );
        let state = self.stream_mut(stream);
        state.watchers.insert(id, slot);
        state.has_future(revision);
        if start > revision {
            state.future.insert((start, slot));
        }
        if create.progress_notify {
            self.want_reports(now, stream, id);
        }
        if next > revision {
            self.table.join_synced(slot)
        } else {
            self.unsync(slot, next)
        }
    }

    /// Cancels a watcher. As in etcd, no answer is given about one that is not there.
    fn cancel(&mut self, stream: StreamId, id: i64) {
        let revision = self.revision;
        let state = self.stream_mut(stream);
        if let Some(slot) = state.watchers.get(&id).copied() {
            state.answers.push_back(respond::canceled(id, revision));
            self.drop_watcher(slot);
        }
    }

    /// Removes a watcher from its stream and from the table.
    fn drop_watcher(&mut self, slot: Slot) {
        let watcher = self.table.watcher(slot);
        let (stream, id, next, is_unsynced) = (
            watcher.stream,
            watcher.id,
            watcher.next,
            watcher.is_unsynced(),
        );
        if is_unsynced {
            self.end_unsynced(slot, next);
        }
        let state = self.stream_mut(stream);
        state.watchers.remove(&id);
        state.notified.remove(&id);
        state.future.remove(&(next, slot));
        self.remove(slot);
    }

    /// Removes a watcher from the table; changes that only it waited for are forgotten.
    fn remove(&mut self, slot: Slot) {
        let id = self.table.watcher(slot).group;
        let group = self.table.group(id);
        if group.members == 1 && self.pending.remove(&id) {
            self.backlog -= group.waiting();
        }
        self.table.remove(slot);
    }

    /// Sends one answer to a request, if a stream waits for one.
    fn send_answer(&mut self) -> bool {
        let Some(stream) = self.next_turn(Turn::Answer) else {
            return false;
        };
        let answer = self.stream_mut(stream).answers.pop_front();
        self.send(stream, answer.expect("the stream waits for an answer"));
        self.settle(stream);
        true
    }

    fn send(&mut self, stream: StreamId, response: WatchResponse) {
        self.stream_mut(stream).credits -= 1;
        self.out.push_back(Effect::WatchSend { stream, response });
    }

    /// Sends events to a watcher. They are not empty, and its stream takes events.
    fn send_events(&mut self, slot: Slot, revision: i64, events: alloc::vec::Vec<KeyChange>) {
        self.events_sent += events.len() as u64;
        let fragment_bytes = self.config.fragment_bytes;
        let watcher = self.table.watcher_mut(slot);
        watcher.quiet = false;
        let (stream, id) = (watcher.stream, watcher.id);
        let fragment_bytes = watcher.fragment.then_some(fragment_bytes);
        for response in respond::events(id, revision, events, fragment_bytes) {
            self.send(stream, response);
        }
    }

    /// The first stream, by id, that waits for `turn`.
    fn next_turn(&self, turn: Turn) -> Option<StreamId> {
        self.turns_from(turn, StreamId(0)).next()
    }

    fn turns_from(&self, turn: Turn, from: StreamId) -> impl Iterator<Item = StreamId> + '_ {
        self.turns
            .range((turn, from)..=(turn, StreamId(u64::MAX)))
            .map(|(_, stream)| *stream)
    }

    /// Queues a stream for what it waits for now. To be called after each change of a stream.
    fn settle(&mut self, stream: StreamId) {
        let state = self.streams.get_mut(&stream).expect("an open stream");
        let due = state.due();
        if due == state.turn {
            return;
        }
        if let Some(before) = core::mem::replace(&mut state.turn, due) {
            self.turns.remove(&(before, stream));
        }
        if let Some(due) = due {
            self.turns.insert((due, stream));
            if due == Turn::History {
                self.history.look_again(stream);
            }
        }
    }

    fn stream_mut(&mut self, stream: StreamId) -> &mut Stream {
        self.streams.get_mut(&stream).expect("an open stream")
    }

    /// The oldest revision that a watcher may start from. As in etcd that is the compaction
    /// revision itself (clients that were canceled come back with it), of which a delete may be
    /// gone; and -1 before the first compaction.
    fn compaction_floor(&self) -> i64 {
        if self.compact_revision <= 0 {
            -1
        } else {
            self.compact_revision
        }
    }

    /// Asserts what the hub promises itself.
    pub fn check(&self) {
        self.table.check();
        self.history.check(self.revision);
        let mut turns = BTreeSet::new();
        let mut ticks = BTreeSet::new();
        let mut unsynced = 0;
        let mut watchers = 0;
        for (id, stream) in &self.streams {
            assert_eq!(
                stream.turn,
                stream.due(),
                "a stream is queued for what it waits for"
            );
            turns.extend(stream.turn.map(|turn| (turn, *id)));
            ticks.extend(stream.tick.map(|tick| (tick, *id)));
            assert!(stream.notified.is_empty() || stream.tick.is_some());
            unsynced += stream.unsynced.len();
            watchers += stream.watchers.len();
            for (start, slot) in stream.future.range((self.revision + 1, Slot::MIN)..) {
                let watcher = self.table.watcher(*slot);
                assert!(watcher.stream == *id && watcher.next == *start);
            }
            for (watch, slot) in &stream.watchers {
                let watcher = self.table.watcher(*slot);
                assert_eq!((watcher.stream, watcher.id), (*id, *watch));
                assert_eq!(watcher.progress_notify, stream.notified.contains(watch));
                assert_eq!(
                    watcher.is_unsynced(),
                    stream.unsynced.contains(&(watcher.next, *slot))
                );
                if watcher.is_unsynced() {
                    assert!(
                        watcher.next <= self.revision,
                        "whoever is unsynced needs the past"
                    );
                    assert!(
                        watcher.next >= self.compact_revision,
                        "and not what is gone"
                    );
                }
            }
        }
        assert_eq!((watchers, unsynced), (self.table.len(), self.unsynced));
        assert_eq!((&turns, &ticks), (&self.turns, &self.ticks));
        let pending = self
            .table
            .groups()
            .filter(|(_, group)| group.pending.is_some());
        assert!(pending.map(|(id, _)| id).eq(self.pending.iter().copied()));
        let waiting = self.table.groups().map(|(_, group)| group.waiting());
        assert_eq!(waiting.sum::<usize>(), self.backlog);
    }
}

/// The keys as etcd reads them: a watcher of the empty key watches the key of one zero byte.
pub fn named(range: KeyRange) -> KeyRange {
    match range {
        KeyRange::One(key) if key.is_empty() => KeyRange::One(Bytes::from_static(&[0])),
        range => range,
    }
}

fn is_empty(range: &KeyRange) -> bool {
    match range {
        KeyRange::One(_) | KeyRange::Span { end: None, .. } => false,
        KeyRange::Span {
            start,
            end: Some(end),
        } => start >= end,
    }
}
