//! A view with uncommitted writes on top: what apply reads and writes while it works through a
//! batch of entries.

use crate::kv::index::{KeyIndex, LiveKeys};
use crate::view::{Batch, Direction, Fault, KeyBounds, Row, Rows, Table, View, Write};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::{Bound, RangeBounds};

/// The writes of a batch of entries, visible to the entries after them and to nobody else until
/// the whole is written as one [`Batch`].
pub struct Overlay<'a> {
    base: &'a dyn View,
    /// Indexed by the table's tag.
    tables: [Writes; Table::ALL.len() + 1],
    keys: LiveKeys,
}

impl<'a> Overlay<'a> {
    pub fn new(base: &'a dyn View) -> Overlay<'a> {
        Overlay {
            base,
            tables: Default::default(),
            keys: LiveKeys::of(base.keys().cloned()),
        }
    }

    /// As [`Overlay::new`], with the index of the base's live keys, if there is one.
    pub fn with_keys(base: &'a dyn View, keys: Option<KeyIndex>) -> Overlay<'a> {
        let keys = LiveKeys::of(keys);
        Overlay {
            keys,
            ..Overlay::new(base)
        }
    }

    pub fn put(&mut self, table: Table, key: Bytes, value: Bytes) {
        self.write(table, key, Some(value));
    }

    pub fn delete(&mut self, table: Table, key: Bytes) {
        self.write(table, key, None);
    }

    /// What is known of the keys, to be told of each that is created or deleted.
    pub(crate) fn live_keys(&mut self) -> &mut LiveKeys {
        &mut self.keys
    }

    /// How many rows were written so far.
    pub(crate) fn len(&self) -> usize {
        self.tables.iter().map(Writes::len).sum()
    }

    /// Every write, in an order that depends on nothing but the writes.
    pub fn into_batch(self) -> Batch {
        self.into_parts().0
    }

    /// Every write, and the live keys after them.
    pub fn into_parts(mut self) -> (Batch, LiveKeys) {
        self.keys.prune();
        let mut batch = Batch::default();
        batch.writes.reserve(self.len());
        for (tag, writes) in self.tables.into_iter().enumerate() {
            let Some(table) = Table::from_tag(tag as u8) else {
                continue;
            };
            writes.drain_into(table, &mut batch);
        }
        (batch, self.keys)
    }

    fn write(&mut self, table: Table, key: Bytes, value: Option<Bytes>) {
        self.tables[table as usize].insert(is_history(table), key, value);
    }
}

impl View for Overlay<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        match self.tables[table as usize].get(key) {
            Some(None) if crate::mutant!(ReadOwnBatch) => self.base.get(table, key),
            Some(written) => Ok(written.clone()),
            None => self.base.get(table, key),
        }
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>, direction: Direction) -> Rows<'a> {
        let base = self.base.scan(table, bounds, direction);
        let mut written = self.tables[table as usize].collect(bounds);
        if written.is_empty() {
            return base;
        }
        if direction == Direction::Forward {
            // `Merge` takes from the end.
            written.reverse();
        }
        Box::new(Merge {
            base,
            next: None,
            written,
            direction,
        })
    }

    fn keys(&self) -> Option<&KeyIndex> {
        self.keys.index()
    }
}

// History is only ever added to, with keys that no earlier entry wrote, and is hardly read while
// entries are applied: a list is all that it needs, and costs a put no tree.
fn is_history(table: Table) -> bool {
    matches!(table, Table::Events | Table::Versions)
}

#[derive(Default)]
struct Writes {
    rows: BTreeMap<Bytes, Option<Bytes>>,
    history: Vec<(Bytes, Option<Bytes>)>,
    /// Whether the keys of `history` do not strictly ascend (those of `Events` do).
    unordered: bool,
}

impl Writes {
    fn insert(&mut self, history: bool, key: Bytes, value: Option<Bytes>) {
        if history {
            self.unordered |= self.history.last().is_some_and(|(last, _)| *last >= key);
            self.history.push((key, value));
        } else {
            self.rows.insert(key, value);
        }
    }

    fn len(&self) -> usize {
        self.rows.len() + self.history.len()
    }

    fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        if self.history.is_empty() {
            return self.rows.get(key);
        }
        if self.unordered {
            return self
                .history
                .iter()
                .rev()
                .find(|(at, _)| at == key)
                .map(|(_, value)| value);
        }
        let at = self
            .history
            .binary_search_by(|(at, _)| at[..].cmp(key))
            .ok()?;
        Some(&self.history[at].1)
    }

    /// The writes within `bounds`, ascending, each row once.
    fn collect(&self, bounds: KeyBounds<'_>) -> Vec<(Bytes, Option<Bytes>)> {
        if is_inverted(bounds) {
            return Vec::new();
        }
        if self.history.is_empty() {
            return self
                .rows
                .range::<[u8], _>(bounds)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
        }
        let within = |key: &Bytes| RangeBounds::<[u8]>::contains(&bounds, &key[..]);
        let mut found: Vec<_> = self
            .history
            .iter()
            .filter(|(key, _)| within(key))
            .cloned()
            .collect();
        // Stable, so that of two writes of a row the later one stays the later one.
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                core::mem::swap(later, earlier);
            }
            same
        });
        found
    }

    fn drain_into(self, table: Table, batch: &mut Batch) {
        let rows = self.rows.into_iter().chain(self.history);
        batch
            .writes
            .extend(rows.map(|(key, value)| Write { table, key, value }));
    }
}

/// Whether no key can lie within the bounds. (A `BTreeMap` panics on most of these.)
pub fn is_inverted((start, end): KeyBounds<'_>) -> bool {
    match (start, end) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start), Bound::Excluded(end))
        | (Bound::Excluded(start), Bound::Included(end))
        | (Bound::Excluded(start), Bound::Excluded(end)) => start >= end,
    }
}

/// The base's rows with the written rows woven in; a written row hides the base's row of its key.
struct Merge<'a> {
    base: Rows<'a>,
    next: Option<Row>,
    /// In reverse of the walk: the next one is the last.
    written: Vec<(Bytes, Option<Bytes>)>,
    direction: Direction,
}

impl Iterator for Merge<'_> {
    type Item = Result<Row, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.next.is_none() {
                match self.base.next() {
                    Some(Ok(row)) => self.next = Some(row),
                    Some(Err(fault)) => return Some(Err(fault)),
                    None => {}
                }
            }
            let Some((key, _)) = self.written.last() else {
                return self.next.take().map(Ok);
            };
            if let Some((base_key, _)) = &self.next {
                let order = match self.direction {
                    Direction::Forward => base_key.cmp(key),
                    Direction::Reverse => key.cmp(base_key),
                };
                match order {
                    core::cmp::Ordering::Less => return self.next.take().map(Ok),
                    core::cmp::Ordering::Equal => self.next = None,
                    core::cmp::Ordering::Greater => {}
                }
            }
            if let Some((key, Some(value))) = self.written.pop() {
                return Some(Ok((key, value)));
            }
        }
    }
}
