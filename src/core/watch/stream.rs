//! One watch stream: its watchers' ids, its credit, and what it waits for.

use super::table::Slot;
use crate::api::{Millis, WatchResponse};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a stream can be given next. A stream waits for one thing at a time, the first of these
/// that applies: nothing overtakes an answer to a request, and no progress is reported while a
/// watcher lags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// Answers to requests wait to be sent.
    Answer,
    /// Unsynced watchers can be served from history.
    History,
    /// Everything is delivered, and the client asked to be told so.
    Progress,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub watchers: BTreeMap<i64, Slot>,
    /// The id that the next watcher without one is given, if it is free.
    pub next_id: i64,
    /// Responses that may be sent before the client must have taken some. Fragments of one
    /// response are sent together, so that it may fall below zero.
    pub credits: i64,
    /// Answers to requests, in order. At most one for each request and each watcher.
    pub answers: VecDeque<WatchResponse>,
    /// Watchers that are to be served from history, by the revision that they need next.
    pub unsynced: BTreeSet<(i64, Slot)>,
    /// Watchers that start at a revision which had not come when they were created, by that
    /// revision. Those whose revision has come are left out by whoever looks.
    pub future: BTreeSet<(i64, Slot)>,
    /// The client asked for a progress report and has not had it yet.
    pub wants_progress: bool,
    /// The watcher that was told last, while a request for progress is answered one by one.
    pub told: Option<i64>,
    /// Ids of the watchers that want progress reports at intervals.
    pub notified: BTreeSet<i64>,
    /// When the next of these reports is due.
    pub tick: Option<Millis>,
    /// The turn that this stream is queued for.
    pub turn: Option<Turn>,
}

impl Stream {
    pub fn new(credits: u32) -> Stream {
        Stream {
            watchers: BTreeMap::new(),
            next_id: 0,
            credits: i64::from(credits),
            answers: VecDeque::new(),
            unsynced: BTreeSet::new(),
            future: BTreeSet::new(),
            wants_progress: false,
            told: None,
            notified: BTreeSet::new(),
            tick: None,
            turn: None,
        }
    }

    /// The turn that this stream ought to be queued for.
    pub fn due(&self) -> Option<Turn> {
        if self.credits <= 0 {
            None
        } else if !self.answers.is_empty() {
            Some(Turn::Answer)
        } else if !self.unsynced.is_empty() {
            Some(Turn::History)
        } else if self.wants_progress || self.told.is_some() {
            Some(Turn::Progress)
        } else {
            None
        }
    }

    /// Whether events may be sent at this moment: the client takes them, and has had every answer
    /// to its earlier requests.
    pub fn takes_events(&self) -> bool {
        self.credits > 0 && self.answers.is_empty()
    }

    /// Whether a watcher waits for a revision behind `revision`.
    pub fn has_future(&mut self, revision: i64) -> bool {
        while self
            .future
            .first()
            .is_some_and(|(start, _)| *start <= revision)
        {
            self.future.pop_first();
        }
        !self.future.is_empty()
    }

    /// Picks the id of a new watcher, as etcd does: the next number that no watcher has.
    pub fn pick_id(&mut self) -> i64 {
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }
}
