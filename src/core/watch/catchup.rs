//! The past, on its way to the unsynced watchers.

use super::Hub;
use super::stream::Turn;
use super::table::Slot;
use super::window::Window;
use crate::api::{KeyChange, StreamId};
use crate::effect::Effect;
use crate::event::{CaughtUp, CompactedAt};
use crate::limits;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Where the past comes from.
#[derive(Debug)]
pub(super) struct History {
    /// The most recent changes, up to the present. whoever is unsynced by less is served from here, and
    /// so gets synced at once, however fast the changes come.
    recent: Window,
    /// Streams that may have watchers to be served from the recent changes.
    fresh: BTreeSet<StreamId>,
    /// The read of the store under way, if there is one.
    asked: Option<Asked>,
    /// What was read from the store, and the stream that is served from it at this moment: those
    /// before it have been.
    read: Option<(Window, StreamId)>,
    /// How many reads were asked for; also the name of the last one.
    reads: u64,
    /// The stream for whose sake the last read was made.
    last: StreamId,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    from: i64,
    to: i64,
}

impl History {
    pub fn new(revision: i64) -> History {
        History {
            recent: Window::new(revision + 1, revision, Vec::new()),
            fresh: BTreeSet::new(),
            asked: None,
            read: None,
            reads: 0,
            last: StreamId(0),
        }
    }

    /// Adds what happened just now.
    pub fn extend(&mut self, revision: i64, changes: &[KeyChange], events_max: usize) {
        self.recent.extend(revision, changes);
        self.recent
            .shrink_to(events_max, limits::CATCH_UP_BYTES_MAX);
    }

    /// Forgets the recent changes: nobody watches, or they were skipped.
    pub fn restart(&mut self, revision: i64) {
        self.recent.restart(revision);
    }

    /// A stream has got unsynced watchers, or can serve them.
    pub fn look_again(&mut self, stream: StreamId) {
        self.fresh.insert(stream);
    }

    pub fn forget(&mut self, stream: StreamId) {
        self.fresh.remove(&stream);
    }

    pub fn check(&self, revision: i64) {
        self.recent.check();
        assert_eq!(
            self.recent.through(),
            revision,
            "the recent changes reach to the present"
        );
        if let Some(asked) = self.asked {
            assert!(asked.from <= asked.to && asked.to <= revision);
        }
        if let Some((window, _)) = &self.read {
            window.check();
            assert!(window.through() <= revision);
        }
    }
}

impl Hub {
    /// The answer to [`Effect::CatchUp`].
    pub fn caught_up(&mut self, catch_up: u64, result: Result<CaughtUp, CompactedAt>) {
        assert_eq!(
            catch_up, self.history.reads,
            "one read is under way at a time"
        );
        let asked = self.history.asked.take().expect("a read is answered once");
        match result {
            Ok(CaughtUp { through, changes }) => {
                assert!(
                    asked.from <= through && through <= asked.to,
                    "a read makes progress"
                );
                let window = Window::new(asked.from, through, changes);
                self.history.read = Some((window, StreamId(0)));
            }
            Err(CompactedAt(revision)) => {
                self.compact_revision = self.compact_revision.max(revision.min(self.revision));
                // Whatever the store calls compacted, who asked for it is not to ask again.
                self.cancel_unsynced(self.compact_revision.max(asked.from + 1));
            }
        }
    }

    /// Notes that a watcher is to be served from history, from `next` on.
    pub(super) fn unsync(&mut self, slot: Slot, next: i64) {
        let watcher = self.table.watcher_mut(slot);
        assert!(watcher.is_unsynced());
        watcher.next = next;
        let stream = watcher.stream;
        let added = self.stream_mut(stream).unsynced.insert((next, slot));
        assert!(added, "a watcher is unsynced once");
        self.unsynced += 1;
        self.history.look_again(stream);
    }

    /// Undoes [`Hub::unsync`].
    pub(super) fn end_unsynced(&mut self, slot: Slot, next: i64) {
        let stream = self.table.watcher(slot).stream;
        let removed = self.stream_mut(stream).unsynced.remove(&(next, slot));
        assert!(removed, "an unsynced watcher is known to");
        self.unsynced -= 1;
    }

    /// Makes a watcher unsynced, from `next` on. If that was compacted while it was on its way
    /// there is nothing to serve it from.
    pub(super) fn fall_behind(&mut self, slot: Slot, next: i64) {
        self.table.leave_synced(slot);
        self.unsync(slot, next);
        if next < self.compact_revision {
            self.cancel_compacted(slot);
        }
    }

    /// Cancels the unsynced watchers and have not been served something before `revision`. The
    /// changes at the compaction revision itself are there to be read, as in etcd.
    pub(super) fn cancel_unsynced(&mut self, revision: i64) {
        let passed: Vec<Slot> = self
            .streams
            .values()
            .flat_map(|stream| stream.unsynced.range(..(revision, Slot::MIN)))
            .map(|(_, slot)| *slot)
            .collect();
        for slot in passed {
            let (stream, next) = (
                self.table.watcher(slot).stream,
                self.table.watcher(slot).next,
            );
            if crate::mutant!(SlowWatcherLoss) {
                self.move_on(slot, next, revision);
            } else {
                self.cancel_compacted(slot);
            }
            self.settle(stream);
        }
    }

    fn cancel_compacted(&mut self, slot: Slot) {
        let watcher = self.table.watcher(slot);
        let (stream, id) = (watcher.stream, watcher.id);
        self.drop_watcher(slot);
        let answer = super::respond::compacted(id, self.compact_revision);
        self.stream_mut(stream).answers.push_back(answer);
    }

    /// Serves the next unsynced watcher from what history is at hand.
    pub(super) fn serve_from_history(&mut self) -> bool {
        self.serve_from_read() || self.serve_from_recent()
    }

    /// Asks for a read of the store, if someone needs one and none is under way.
    ///
    /// Streams take turns. Within a stream, the watcher that needs most and the one that needs least
    /// take turns, so that one with a long way to go does not keep back one that is nearly there.
    /// Whoever needs a part of what is read is served along.
    pub(super) fn read_history(&mut self) -> Option<Effect> {
        if self.history.asked.is_some() {
            return None;
        }
        let behind = StreamId(self.history.last.0.saturating_add(1));
        let stream = self
            .turns_from(Turn::History, behind)
            .next()
            .or_else(|| self.next_turn(Turn::History))?;
        let unsynced = &self.streams[&stream].unsynced;
        let most_first = self.history.reads.is_multiple_of(2);
        let next = if most_first {
            unsynced.first()
        } else {
            unsynced.last()
        };
        let (from, _) = *next.expect("the stream has unsynced watchers");
        let to = self.revision;
        assert!(
            from < self.history.recent.from(),
            "who can be served from memory has been"
        );
        self.history.last = stream;
        self.history.reads += 1;
        self.history.asked = Some(Asked { from, to });
        Some(Effect::CatchUp {
            catch_up: self.history.reads,
            from,
            to,
        })
    }

    fn serve_from_read(&mut self) -> bool {
        let Some((mut window, stream)) = self.history.read.take() else {
            return false;
        };
        let Some(stream) = self.turns_from(Turn::History, stream).next() else {
            return true;
        };
        let (from, through) = (window.from(), window.through());
        let covered = (from, 0)..=(through, Slot::MAX);
        let found = self.streams[&stream]
            .unsynced
            .range(covered)
            .next()
            .copied();
        let resume = match found {
            Some((_, slot)) => {
                self.serve(slot, &mut window);
                Some(stream)
            }
            None => stream.0.checked_add(1).map(StreamId),
        };
        self.history.read = resume.map(|stream| (window, stream));
        true
    }

    fn serve_from_recent(&mut self) -> bool {
        let Some(stream) = self.history.fresh.first().copied() else {
            return false;
        };
        let state = &self.streams[&stream];
        let covered = (self.history.recent.from(), 0)..;
        let found = state.unsynced.range(covered).next().copied();
        match found {
            Some((_, slot)) if state.turn == Some(Turn::History) => {
                let nothing = Window::new(self.revision + 1, self.revision, Vec::new());
                let mut recent = core::mem::replace(&mut self.history.recent, nothing);
                self.serve(slot, &mut recent);
                self.history.recent = recent;
            }
            _ => {
                self.history.fresh.remove(&stream);
            }
        }
        true
    }

    /// Notes that an unsynced watcher at `next` has been served up to and including `through`.
    fn move_on(&mut self, slot: Slot, next: i64, through: i64) {
        self.end_unsynced(slot, next);
        if through == self.revision {
            self.table.watcher_mut(slot).next = through + 1;
            self.table.join_synced(slot);
        } else {
            self.unsync(slot, through + 1);
        }
    }

    /// Delivers to a watcher what it needs of `window`, which covers its next revision.
    fn serve(&mut self, slot: Slot, window: &mut Window) {
        self.steps += 1;
        let watcher = self.table.watcher(slot);
        let (stream, next, filter) = (watcher.stream, watcher.next, watcher.filter);
        assert!(window.covers(next));
        let events: Vec<KeyChange> = window
            .matching(self.table.range(slot), next)
            .into_iter()
            .filter_map(|change| filter.of(change))
            .collect();
        let through = window.through();
        self.move_on(slot, next, through);
        if !events.is_empty() {
            self.send_events(slot, through, events);
        }
        self.settle(stream);
    }
}
