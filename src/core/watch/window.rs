//! A stretch of history held in memory: the most recent changes, or what was read from the store
//! for unsynced watchers.

use crate::api::{KeyChange, KeyRange};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;

/// Lookups that walk over the changes before sorting them by key pays for itself.
const SCANS_BEFORE_SORTING: u32 = 16;

/// Every change with `from <= revision <= through`, in order.
#[derive(Debug)]
pub(super) struct Window {
    from: i64,
    through: i64,
    changes: VecDeque<KeyChange>,
    bytes: usize,
    /// Positions of the changes by key, then by order: built once enough lookups have come, void
    /// after each extension.
    by_key: Option<Vec<u32>>,
    scans: u32,
}

impl Window {
    /// A window over `[from, through]`; empty if `from` is one past `through`.
    pub fn new(from: i64, through: i64, changes: Vec<KeyChange>) -> Window {
        let bytes = changes.iter().map(change_bytes).sum();
        let window = Window {
            from,
            through,
            changes: changes.into(),
            bytes,
            by_key: None,
            scans: 0,
        };
        window.check();
        window
    }

    pub fn through(&self) -> i64 {
        self.through
    }

    pub fn from(&self) -> i64 {
        self.from
    }

    /// Whether a watcher that needs everything from `next` on can be served from here.
    pub fn covers(&self, next: i64) -> bool {
        self.from <= next && next <= self.through
    }

    /// Appends what happened since: `changes` are all there are up to `through`.
    pub fn extend(&mut self, through: i64, changes: &[KeyChange]) {
        assert!(through >= self.through, "history only grows");
        assert!(
            changes
                .first()
                .is_none_or(|first| first.kv.mod_revision > self.through)
        );
        self.through = through;
        self.bytes += changes.iter().map(change_bytes).sum::<usize>();
        self.changes.extend(changes.iter().cloned());
        self.by_key = None;
        self.scans = 0;
    }

    /// Forgets the oldest revisions, whole ones, until both limits hold.
    pub fn shrink_to(&mut self, events_max: usize, bytes_max: usize) {
        while self.changes.len() > events_max || self.bytes > bytes_max {
            let oldest = self.changes[0].kv.mod_revision;
            while self
                .changes
                .front()
                .is_some_and(|change| change.kv.mod_revision == oldest)
            {
                let change = self.changes.pop_front().expect("looked at above");
                self.bytes -= change_bytes(&change);
            }
            self.from = oldest + 1;
        }
        self.by_key = None;
        self.scans = 0;
    }

    /// Forgets everything up to and including `through`, which is also the last revision known.
    pub fn restart(&mut self, through: i64) {
        *self = Window::new(through + 1, through, Vec::new());
    }

    /// The changes of `range` from revision `next` on, in order. The first lookups scan; when many
    /// watchers are to be served the changes are sorted once, and each costs what it finds.
    pub fn matching(&mut self, range: &KeyRange, next: i64) -> Vec<&KeyChange> {
        if self.by_key.is_none() {
            if self.scans < SCANS_BEFORE_SORTING {
                self.scans += 1;
                let first = self
                    .changes
                    .partition_point(|change| change.kv.mod_revision < next);
                return self
                    .changes
                    .range(first..)
                    .filter(|change| range.contains(&change.kv.key))
                    .collect();
            }
            self.sort();
        }
        let by_key = self.by_key.as_ref().expect("sorted above");
        let key_at = |at: &u32| -> &Bytes { &self.changes[*at as usize].kv.key };
        let (first, end) = match range {
            KeyRange::One(key) => (
                by_key.partition_point(|at| key_at(at) < key),
                by_key.partition_point(|at| key_at(at) <= key),
            ),
            KeyRange::Span { start, end } => (
                by_key.partition_point(|at| key_at(at) < start),
                end.as_ref().map_or(by_key.len(), |end| {
                    by_key.partition_point(|at| key_at(at) < end)
                }),
            ),
        };
        let mut found: Vec<u32> = by_key[first..end.max(first)].to_vec();
        found.sort_unstable();
        found
            .into_iter()
            .map(|at| &self.changes[at as usize])
            .filter(|change| change.kv.mod_revision >= next)
            .collect()
    }

    fn sort(&mut self) {
        let count = u32::try_from(self.changes.len()).expect("a window is small");
        let mut by_key: Vec<u32> = (0..count).collect();
        by_key.sort_by(|a, b| {
            self.changes[*a as usize]
                .kv
                .key
                .cmp(&self.changes[*b as usize].kv.key)
        });
        self.by_key = Some(by_key);
    }

    /// Asserts what a window promises itself.
    pub fn check(&self) {
        assert!(self.from <= self.through + 1);
        let mut before = self.from;
        for change in &self.changes {
            assert!(change.kv.mod_revision >= before, "changes are in order");
            before = change.kv.mod_revision;
        }
        assert!(self.changes.is_empty() || before <= self.through);
        assert_eq!(
            self.bytes,
            self.changes.iter().map(change_bytes).sum::<usize>()
        );
    }
}

/// An upper bound of what a change takes as an encoded event.
pub(super) fn change_bytes(change: &KeyChange) -> usize {
    /// Tags, lengths and the five integers of a key-value, at their longest.
    const OVERHEAD: usize = 80;
    let prev = change
        .prev_kv
        .as_ref()
        .map_or(0, |kv| kv.key.len() + kv.value.len() + OVERHEAD);
    change.kv.key.len() + change.kv.value.len() + OVERHEAD + prev
}
