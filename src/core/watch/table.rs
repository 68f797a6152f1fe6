//! Who watches what: the watchers of a member, grouped by the keys they watch.
//!
//! All watchers of the same keys form a *group*, and groups are what a change is matched against:
//! an exact key finds its group in a map, spans are found in an interval tree. Within a group the
//! watchers that are synced sit in a plain vector, so that a watcher costs a few dozen
//! bytes and joins and leaves in constant time.

use super::spans::{Span, SpanTree};
use crate::api::{ChangeKind, KeyChange, KeyRange, StreamId};
use crate::auth::Principal;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// The place of a watcher in the table, reused after it is gone.
pub(super) type Slot = u32;
/// The place of a group in the table, reused after it is gone.
pub(super) type GroupId = u32;

/// What a watcher wants to see of the changes to its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventFilter {
    pub no_put: bool,
    pub no_delete: bool,
    pub prev_kv: bool,
}

impl EventFilter {
    /// How many different filters there are.
    pub const COUNT: usize = 8;

    pub fn number(self) -> usize {
        usize::from(self.no_put) | usize::from(self.no_delete) << 1 | usize::from(self.prev_kv) << 2
    }

    /// The change as this filter has it, if it wants it at all.
    pub fn of(self, change: &KeyChange) -> Option<KeyChange> {
        let refused = match change.kind {
            ChangeKind::Put => self.no_put,
            ChangeKind::Delete => self.no_delete,
        };
        let prev_kv = if self.prev_kv {
            change.prev_kv.clone()
        } else {
            None
        };
        (!refused).then(|| KeyChange {
            kind: change.kind,
            kv: change.kv.clone(),
            prev_kv,
        })
    }
}

#[derive(Debug)]
pub(super) struct Watcher {
    pub stream: StreamId,
    pub id: i64,
    /// The first revision that it has not been served: of its changes, all before are delivered,
    /// and none from here on. For a watcher synced this may lie behind the present, as nothing
    /// that concerns it happened since; for one that starts in the future it lies ahead.
    pub next: i64,
    pub group: GroupId,
    /// Its position among the synced watchers of its group, while it is one.
    pub position: Option<u32>,
    pub filter: EventFilter,
    pub fragment: bool,
    pub progress_notify: bool,
    /// Whether nothing was sent to it since its stream's last progress tick.
    pub quiet: bool,
    /// On whose behalf; `None` for a client that has not said who it is.
    pub principal: Option<Arc<Principal>>,
}

impl Watcher {
    /// Whether it is to be served from history, and not by what happens.
    pub fn is_unsynced(&self) -> bool {
        self.position.is_none()
    }
}

/// Changes on their way to the watchers of a group.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub changes: Vec<KeyChange>,
    /// The walk along the synced watchers, if it has begun.
    pub walk: Option<Walk>,
}

/// One pass along the synced watchers of a group, from the last to the first: a watcher that leaves is
/// replaced by the last one, which the walk has then seen already (or has yet to see at
/// its new position, if it was to be the first).
#[derive(Debug)]
pub(super) struct Walk {
    /// How many of the pending changes this walk delivers.
    pub count: usize,
    /// Everything up to this revision is delivered to whom the walk has passed.
    pub through: i64,
    /// Positions not yet visited: those below this number.
    pub unvisited: usize,
    /// The changes as each filter has them, made when first wanted.
    pub filtered: [Option<Vec<KeyChange>>; EventFilter::COUNT],
}

#[derive(Debug)]
pub(super) struct Group {
    pub range: KeyRange,
    /// Watchers of these keys, synced or not.
    pub members: u32,
    pub synced: Vec<Slot>,
    pub pending: Option<Box<Pending>>,
}

impl Group {
    /// How many changes are on their way to its watchers.
    pub fn waiting(&self) -> usize {
        let pending = self.pending.as_ref();
        pending.map_or(0, |pending| pending.changes.len())
    }
}

#[derive(Debug)]
pub(super) struct Table {
    watchers: Vec<Option<Watcher>>,
    free_slots: Vec<Slot>,
    groups: Vec<Option<Group>>,
    free_groups: Vec<GroupId>,
    exact: BTreeMap<Bytes, GroupId>,
    spans: SpanTree,
}

impl Table {
    pub fn new() -> Table {
        Table {
            watchers: Vec::new(),
            free_slots: Vec::new(),
            groups: Vec::new(),
            free_groups: Vec::new(),
            exact: BTreeMap::new(),
            spans: SpanTree::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.watchers.len() - self.free_slots.len()
    }

    pub fn watcher(&self, slot: Slot) -> &Watcher {
        self.watchers[slot as usize]
            .as_ref()
            .expect("a watcher sits in this slot")
    }

    pub fn watcher_mut(&mut self, slot: Slot) -> &mut Watcher {
        self.watchers[slot as usize]
            .as_mut()
            .expect("a watcher sits in this slot")
    }

    pub fn group(&self, group: GroupId) -> &Group {
        self.groups[group as usize]
            .as_ref()
            .expect("a group with members exists")
    }

    pub fn group_mut(&mut self, group: GroupId) -> &mut Group {
        self.groups[group as usize]
            .as_mut()
            .expect("a group with members exists")
    }

    /// The keys that a watcher watches.
    pub fn range(&self, slot: Slot) -> &KeyRange {
        &self.group(self.watcher(slot).group).range
    }

    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        (0..)
            .zip(&self.groups)
            .filter_map(|(id, group)| Some((id, group.as_ref()?)))
    }

    pub fn watchers(&self) -> impl Iterator<Item = (Slot, &Watcher)> {
        (0..)
            .zip(&self.watchers)
            .filter_map(|(slot, watcher)| Some((slot, watcher.as_ref()?)))
    }

    /// Adds a watcher of `range` that is neither synced nor known to be unsynced: the caller
    /// makes it one or the other. `watcher.group` is filled in here.
    pub fn insert(&mut self, range: KeyRange, mut watcher: Watcher) -> Slot {
        assert!(watcher.is_unsynced());
        let group = self.group_of(range);
        self.group_mut(group).members += 1;
        watcher.group = group;
        place(&mut self.watchers, &mut self.free_slots, watcher)
    }

    /// Removes a watcher, and its group if it was the last one.
    pub fn remove(&mut self, slot: Slot) -> Watcher {
        self.leave_synced(slot);
        let watcher = self.watchers[slot as usize]
            .take()
            .expect("a watcher sits in this slot");
        self.free_slots.push(slot);
        let group = self.group_mut(watcher.group);
        group.members -= 1;
        if group.members == 0 {
            let group = self.groups[watcher.group as usize]
                .take()
                .expect("looked at above");
            match group.range {
                KeyRange::One(key) => {
                    self.exact.remove(&key);
                }
                KeyRange::Span { start, end } => self.spans.remove(&Span { start, end }),
            }
            self.free_groups.push(watcher.group);
        }
        watcher
    }

    /// Puts a watcher among the synced ones of its group.
    pub fn join_synced(&mut self, slot: Slot) {
        let id = self.watcher(slot).group;
        let group = self.group_mut(id);
        let position = u32::try_from(group.synced.len()).expect("fewer watchers than 2^32");
        group.synced.push(slot);
        let before = self.watcher_mut(slot).position.replace(position);
        assert_eq!(before, None, "a watcher has one position");
    }

    /// Takes a watcher from among the synced ones, if it is one.
    pub fn leave_synced(&mut self, slot: Slot) {
        let Some(position) = self.watcher_mut(slot).position.take() else {
            return;
        };
        let id = self.watcher(slot).group;
        let group = self.group_mut(id);
        let removed = group.synced.swap_remove(position as usize);
        assert_eq!(removed, slot, "a watcher and its position know each other");
        if let Some(moved) = group.synced.get(position as usize).copied() {
            self.watcher_mut(moved).position = Some(position);
        }
    }

    /// Calls `found` for each group that watches `key`; returns how many steps the lookup took.
    pub fn matching(&self, key: &[u8], mut found: impl FnMut(GroupId)) -> u64 {
        if let Some(group) = self.exact.get(key) {
            found(*group);
        }
        1 + self.spans.containing(key, found)
    }

    fn group_of(&mut self, range: KeyRange) -> GroupId {
        let known = match &range {
            KeyRange::One(key) => self.exact.get(key).copied(),
            KeyRange::Span { start, end } => self.spans.get(&Span {
                start: start.clone(),
                end: end.clone(),
            }),
        };
        if let Some(known) = known {
            return known;
        }
        let group = Group {
            range: range.clone(),
            members: 0,
            synced: Vec::new(),
            pending: None,
        };
        let id = place(&mut self.groups, &mut self.free_groups, group);
        match range {
            KeyRange::One(key) => {
                self.exact.insert(key, id);
            }
            KeyRange::Span { start, end } => self.spans.insert(Span { start, end }, id),
        }
        id
    }

    /// Asserts what the table promises itself.
    pub fn check(&self) {
        self.spans.check();
        assert_eq!(
            self.groups().count(),
            self.groups.len() - self.free_groups.len()
        );
        assert_eq!(self.groups().count(), self.exact.len() + self.spans.len());
        let mut members: BTreeMap<GroupId, u32> = BTreeMap::new();
        for (slot, watcher) in self.watchers() {
            *members.entry(watcher.group).or_default() += 1;
            if let Some(position) = watcher.position {
                assert_eq!(self.group(watcher.group).synced[position as usize], slot);
            }
        }
        assert_eq!(self.watchers().count(), self.len());
        for (id, group) in self.groups() {
            assert_eq!(
                members.get(&id),
                Some(&group.members),
                "a group counts its members"
            );
            let found = match &group.range {
                KeyRange::One(key) => self.exact.get(key).copied(),
                KeyRange::Span { start, end } => self.spans.get(&Span {
                    start: start.clone(),
                    end: end.clone(),
                }),
            };
            assert_eq!(found, Some(id), "a group is found by its keys");
            for slot in &group.synced {
                assert_eq!(self.watcher(*slot).group, id);
                assert!(!self.watcher(*slot).is_unsynced());
            }
        }
    }
}

/// Puts an item into a vacant place, or behind the last one.
fn place<T>(places: &mut Vec<Option<T>>, free: &mut Vec<u32>, item: T) -> u32 {
    match free.pop() {
        Some(at) => {
            places[at as usize] = Some(item);
            at
        }
        None => {
            places.push(Some(item));
            u32::try_from(places.len() - 1).expect("fewer than 2^32")
        }
    }
}
