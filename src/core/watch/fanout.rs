//! What happens now, on its way to the watchers that are synced.

use super::Hub;
use super::table::{EventFilter, GroupId, Slot, Walk};
use crate::api::KeyChange;
use alloc::vec::Vec;

impl Hub {
    /// Leaves each change with the groups that watch its key. The watchers themselves are visited
    /// when polled.
    pub(super) fn spread(&mut self, changes: &[KeyChange]) {
        let mut groups: Vec<GroupId> = Vec::new();
        for change in changes {
            self.steps += self
                .table
                .matching(&change.kv.key, |group| groups.push(group));
            for id in groups.drain(..) {
                self.steps += 1;
                let group = self.table.group_mut(id);
                if !group.synced.is_empty() {
                    let pending = &mut group.pending.get_or_insert_default().changes;
                    let revision = change.kv.mod_revision;
                    if crate::mutant!(DoubleWatchEvents)
                        && pending
                            .last()
                            .is_some_and(|last| last.kv.mod_revision == revision)
                    {
                        pending.push(change.clone());
                        self.backlog += 1;
                    }
                    pending.push(change.clone());
                    self.backlog += 1;
                    self.pending.insert(id);
                }
            }
        }
    }

    /// Visits the next watcher that is synced and has changes waiting.
    pub(super) fn fan_out(&mut self) -> bool {
        let Some(id) = self.pending.first().copied() else {
            return false;
        };
        let revision = self.revision;
        let group = self.table.group_mut(id);
        let synced = group.synced.len();
        let pending = group
            .pending
            .as_mut()
            .expect("the group has changes waiting");
        let walk = pending.walk.get_or_insert_with(|| Walk {
            count: pending.changes.len(),
            through: revision,
            unvisited: synced,
            filtered: Default::default(),
        });
        // Watchers that left have shortened the list; the last ones have moved to their places.
        walk.unvisited = walk.unvisited.min(synced);
        if walk.unvisited == 0 {
            let done = walk.count;
            self.backlog -= done;
            pending.walk = None;
            pending.changes.drain(..done);
            if pending.changes.is_empty() {
                group.pending = None;
                self.pending.remove(&id);
            }
            return true;
        }
        walk.unvisited -= 1;
        let slot = group.synced[walk.unvisited];
        self.visit(id, slot);
        true
    }

    /// Delivers the changes of the walk to one watcher, or notes that it is unsynced.
    fn visit(&mut self, id: GroupId, slot: Slot) {
        self.steps += 1;
        let watcher = self.table.watcher(slot);
        let (next, filter, stream) = (watcher.next, watcher.filter, watcher.stream);
        let pending = self
            .table
            .group_mut(id)
            .pending
            .as_mut()
            .expect("under way");
        let walk = pending.walk.as_mut().expect("under way");
        let changes = &pending.changes[..walk.count];
        let events = if next <= changes[0].kv.mod_revision {
            walk.filtered[filter.number()]
                .get_or_insert_with(|| filtered(filter, changes))
                .clone()
        } else {
            let first = changes.partition_point(|change| change.kv.mod_revision < next);
            filtered(filter, &changes[first..])
        };
        let Some(first) = events.first() else { return };
        let through = walk.through;
        if self.stream_mut(stream).takes_events() {
            self.table.watcher_mut(slot).next = through + 1;
            self.send_events(slot, through, events);
        } else {
            let first = first.kv.mod_revision;
            self.fall_behind(slot, first);
        }
        self.settle(stream);
    }

    fn drop_pending(&mut self) {
        self.backlog = 0;
        for id in core::mem::take(&mut self.pending) {
            self.table.group_mut(id).pending = None;
        }
    }

    /// What the mutant `UnreachedWatchers` does to changes that are not delivered within a round.
    pub(super) fn forget_unreached(&mut self) {
        self.drop_pending();
    }

    /// Takes every watcher whose next revision is not in the future of `revision` off the synced ones: what
    /// happened up to there will not come by.
    pub(super) fn unsync_all(&mut self, revision: i64) {
        let mut unsynced = Vec::new();
        for (_, group) in self.table.groups() {
            let undelivered = group.pending.as_ref().map(|pending| &pending.changes[0]);
            let first = undelivered.map_or(self.revision + 1, |change| change.kv.mod_revision);
            for slot in &group.synced {
                let mut next = self.table.watcher(*slot).next.max(first);
                if crate::mutant!(WatchTimeTravel) {
                    next = self.compact_revision.max(0) + 1;
                }
                if next <= revision {
                    unsynced.push((*slot, next));
                }
            }
        }
        self.drop_pending();
        for (slot, next) in unsynced {
            let stream = self.table.watcher(slot).stream;
            self.fall_behind(slot, next);
            self.settle(stream);
        }
    }
}

fn filtered(filter: EventFilter, changes: &[KeyChange]) -> Vec<KeyChange> {
    changes
        .iter()
        .filter_map(|change| filter.of(change))
        .collect()
}
