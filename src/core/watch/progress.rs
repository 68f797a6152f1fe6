//! Telling clients how far they are when nothing else tells them.

use super::stream::Turn;
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
    /// that the hub's revision may be reported to whoever does not lag.
    pub(super) fn send_progress(&mut self) -> bool {
        assert!(self.pending.is_empty());
        if let Some(stream) = self.next_turn(Turn::Progress) {
            self.stream_mut(stream).wants_progress = false;
            self.send(stream, respond::progress(-1, self.revision));
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

    /// Reports to one watcher, unless it has heard something since the last round. A watcher that
    /// lags or whose stream takes nothing is left out: it will hear enough soon.
    fn report(&mut self, stream: StreamId, id: i64) {
        self.steps += 1;
        let state = &self.streams[&stream];
        let takes_events = state.takes_events();
        let watcher = self.table.watcher_mut(state.watchers[&id]);
        let quiet = core::mem::replace(&mut watcher.quiet, true);
        if quiet && !watcher.lags() && takes_events {
            self.send(stream, respond::progress(id, self.revision));
            self.settle(stream);
        }
    }
}
