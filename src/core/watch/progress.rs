//! Telling clients how far they are when nothing else tells them.

use super::stream::Turn;
use super::table::Slot;
use super::{Hub, respond};
use crate::api::{Millis, StreamId};
use core::ops::Bound;

/// One round of progress reports to the watchers of a stream.
#[derive(Debug)]
pub(super) struct Walk {
    stream: StreamId,
    /// The watcher that was visited last.
    after: Bound<i64>,
}

impl Hub {
    /// Notes that a new watcher wants to be told at intervals.
    pub(super) fn want_reports(&mut self, now: Millis, stream: StreamId, id: i64) {
        let tick = now + self.config.progress_interval;
        let state = self.stream_mut(stream);
        state.notified.insert(id);
        if state.tick.is_none() {
            state.tick = Some(tick);
            self.ticks.insert((tick, stream));
        }
    }

    /// Starts the rounds that are due.
    pub(super) fn start_reports(&mut self, now: Millis) {
        while let Some((due, stream)) = self.ticks.first().copied() {
            if due > now {
                return;
            }
            self.ticks.pop_first();
            let again = now + self.config.progress_interval;
            let state = self.stream_mut(stream);
            state.tick = (!state.notified.is_empty()).then_some(again);
            if state.tick.is_some() {
                self.ticks.insert((again, stream));
                self.reports.push_back(Walk {
                    stream,
                    after: Bound::Unbounded,
                });
            }
        }
    }

    /// Sends the next progress report. Everything that happened is on its way before this runs, so
    /// that the hub's revision may be reported to whoever is synced.
    pub(super) fn send_progress(&mut self) -> bool {
        assert!(self.pending.is_empty());
        if let Some(stream) = self.next_turn(Turn::Progress) {
            self.answer_progress(stream);
            self.settle(stream);
            return true;
        }
        let Some(walk) = self.reports.front_mut() else {
            return false;
        };
        let stream = walk.stream;
        let next = self.streams.get(&stream).and_then(|state| {
            state
                .notified
                .range((walk.after, Bound::Unbounded))
                .next()
                .copied()
        });
        match next {
            Some(id) => {
                walk.after = Bound::Excluded(id);
                self.report(stream, id);
            }
            None => {
                self.reports.pop_front();
            }
        }
        true
    }

    /// Answers a request for progress: for all watchers of the stream at once or, if one of them
    /// waits for a revision to come, for each of the others by itself, one at a time.
    fn answer_progress(&mut self, stream: StreamId) {
        let revision = self.revision;
        let state = self.stream_mut(stream);
        let after = match state.told.take() {
            Some(id) => Bound::Excluded(id),
            None => {
                state.wants_progress = false;
                if !state.has_future(revision) {
                    return self.send(stream, respond::progress(-1, revision));
                }
                Bound::Unbounded
            }
        };
        let watchers = &self.streams[&stream].watchers;
        let mut rest = watchers.range((after, Bound::Unbounded));
        let next = rest.find(|(_, slot)| !self.is_future(**slot));
        if let Some((id, _)) = next {
            let id = *id;
            self.stream_mut(stream).told = Some(id);
            self.send(stream, respond::progress(id, revision));
        }
    }

    /// Whether the watcher was created for a revision that has not come yet.
    fn is_future(&self, slot: Slot) -> bool {
        let watcher = self.table.watcher(slot);
        let future = &self.streams[&watcher.stream].future;
        watcher.next > self.revision && future.contains(&(watcher.next, slot))
    }

    /// Reports to one watcher, unless it has heard something since the last round. A watcher that
    /// lags or whose stream takes nothing is left out: it will hear enough soon; and so is one whose
    /// start has not come.
    fn report(&mut self, stream: StreamId, id: i64) {
        self.steps += 1;
        let state = &self.streams[&stream];
        let takes_events = state.takes_events();
        let slot = state.watchers[&id];
        let is_future = self.is_future(slot);
        let watcher = self.table.watcher_mut(slot);
        let quiet = core::mem::replace(&mut watcher.quiet, true);
        if quiet && !watcher.is_unsynced() && !is_future && takes_events {
            self.send(stream, respond::progress(id, self.revision));
            self.settle(stream);
        }
    }
}
