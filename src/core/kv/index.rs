//! Which keys live, and since when, in memory: so that a count or a limited read costs what its
//! ends cost, and not what lies between; and the same at a past revision.
//!
//! Two trees. One has each live key with the revision that created it. The other has each
//! *ended generation* of a key that a past revision may still show: created here, deleted there (a
//! generation, etcd's word, is a key from its creation to its delete). Within a block of a tree a
//! key is kept without what it shares with the one before, and of a long key only
//! the beginning, its *stem*: so a key takes few bytes, and no read of the index touches a row.
//! Only a bound that is itself longer than a stem is looked up among the rows of the keys that
//! begin with the same stem.

mod block;
mod changes;
mod rebuild;
mod tree;

pub use block::Stem;
pub use changes::{KeyChange, LiveKeys};
pub use rebuild::{EndedGenerations, ended_generations, live_keys};

use crate::codec::{generation_key, split_generation_key, version_start};
use crate::limits::INDEX_PRUNE_BATCH;
use crate::view::{Direction, Fault, KeyBounds, Rows, Table, View};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;
use tree::{Tree, Walk};

/// Bytes of a key that are kept in memory.
pub const STEM_BYTES_MAX: usize = 256;

/// The keys of one state.
#[derive(Clone, Debug, Default)]
pub struct KeyIndex {
    /// Live keys, each with the revision that created it.
    live: Tree,
    /// Ended generations, each with the revision that ended it.
    ended: Tree,
    /// Every generation that ended after this revision is known.
    ended_since: i64,
    /// No read asks for a revision before this one.
    compacted: i64,
    /// Generations that ended before are taken out, in small steps: how far that has come.
    pruned: Option<Box<[u8]>>,
}

impl KeyIndex {
    /// How many keys live.
    pub fn len(&self) -> u64 {
        self.live.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many generations that ended are kept.
    pub fn ended_len(&self) -> u64 {
        self.ended.len()
    }

    /// Adds a key that was created at main revision `created`. (Of keys that fit into a stem it is
    /// known if they live already; then nothing changes.)
    pub fn insert(&mut self, key: &[u8], created: i64) {
        self.live.insert(key, created);
    }

    /// Takes out a key that was deleted at main revision `deleted`.
    pub fn remove(&mut self, key: &[u8], deleted: i64) {
        let Some(it) = self.live.remove(key) else {
            return;
        };
        // What began and ended in one revision was never to be read.
        if it.revision < deleted || it.is_shared {
            let generation = generation_key(key, it.revision);
            self.ended.insert(&generation, deleted);
        }
    }

    /// What was before `revision` is asked for no more.
    pub fn compact(&mut self, revision: i64) {
        if revision > self.compacted {
            self.compacted = revision;
            self.pruned = Some(Box::default());
        }
    }

    /// Takes out some generations that no read asks for any more.
    pub fn prune(&mut self) {
        let Some(start) = self.pruned.take() else {
            return;
        };
        let (compacted, mut looked_at) = (self.compacted, 0);
        let (mut over, mut next) = (Vec::new(), None);
        let walk = Walk {
            start: &start,
            ..Walk::ALL
        };
        self.ended.walk(&walk, &mut |it| {
            if looked_at == INDEX_PRUNE_BATCH {
                next = Some(it.stem.into());
                return false;
            }
            looked_at += 1;
            if it.revision <= compacted {
                over.push(it.stem.to_vec());
            }
            true
        });
        self.pruned = next;
        for generation in over {
            // Of keys with one stem all are over.
            while self
                .ended
                .remove(&generation)
                .is_some_and(|it| it.is_shared)
            {}
        }
    }

    /// Does what was noted while there was no index.
    pub fn catch_up(&mut self, changes: &[KeyChange]) {
        for change in changes {
            change.apply(self);
        }
    }

    /// Takes up the generations that had ended when the keys were indexed, unless it knows them.
    pub fn add_ended(&mut self, generations: EndedGenerations) {
        if self.ended_since == 0 {
            return;
        }
        let since = core::mem::replace(&mut self.ended, generations.0);
        let ended = &mut self.ended;
        since.walk(&Walk::ALL, &mut |it| {
            ended.insert(it.stem, it.revision);
            true
        });
        self.ended_since = 0;
        self.pruned = Some(Box::default());
    }

    /// The ranks between which the keys from `start` up to and without `end` lie. `view` must show
    /// the same state.
    pub fn ranks(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        view: &dyn View,
    ) -> Result<Range<u64>, Fault> {
        let first = self.live.rank(start, view)?;
        let end = match end {
            Some(end) => self.live.rank(end, view)?,
            None => self.len(),
        };
        Ok(first..end.max(first))
    }

    /// The stem of the key before which `rank` keys lie.
    pub fn select(&self, rank: u64) -> Option<Stem> {
        self.live.select(rank)
    }

    /// How many keys from `start` up to and without `end` lived at the past `revision`. `None` if
    /// the rows must be asked.
    pub fn count_at(
        &self,
        (start, end): (&[u8], Option<&[u8]>),
        revision: i64,
        view: &dyn View,
    ) -> Result<Option<u64>, Fault> {
        if revision < self.ended_since {
            return Ok(None);
        }
        let ranks = self.ranks(start, end, view)?;
        let mut count = ranks.end - ranks.start;
        let mut is_certain = true;
        let walk = Walk {
            start,
            end,
            after: revision,
            direction: Direction::Forward,
        };
        self.live.walk(&walk, &mut |key| {
            is_certain &= key.is_key();
            count = count.saturating_sub(1);
            is_certain
        });
        let lived = self.walk_ended(walk, &mut |_| {
            count += 1;
            true
        });
        Ok((is_certain && lived).then_some(count))
    }

    /// The first keys from `start` up to and without `end` that lived at the past `revision`, or
    /// the last ones. `None` if the rows must be asked.
    pub fn keys_at(
        &self,
        (start, end): (&[u8], Option<&[u8]>),
        revision: i64,
        direction: Direction,
        keys_max: usize,
    ) -> Option<Vec<Bytes>> {
        if revision < self.ended_since {
            return None;
        }
        let mut is_certain = true;
        let walk = |after| Walk {
            start,
            end,
            after,
            direction,
        };
        let mut found: Vec<Bytes> = Vec::new();
        self.live.walk(&walk(0), &mut |key| {
            is_certain &= key.is_key();
            if key.revision <= revision {
                found.push(Bytes::copy_from_slice(key.stem));
            }
            is_certain && found.len() < keys_max
        });
        let from_live = found.len();
        is_certain &= self.walk_ended(walk(revision), &mut |key| {
            found.push(Bytes::from(key));
            found.len() - from_live < keys_max
        });
        found.sort_unstable();
        if direction == Direction::Reverse {
            found.reverse();
        }
        found.truncate(keys_max);
        is_certain.then_some(found)
    }

    /// Shows the keys with a generation that was there at revision `walk.after` and ended later. False if
    /// there is one that is not known whole.
    fn walk_ended(&self, walk: Walk<'_>, show: &mut dyn FnMut(Vec<u8>) -> bool) -> bool {
        let start = version_start(walk.start);
        let end = walk.end.map(version_start);
        let within = Walk {
            start: &start,
            end: end.as_deref(),
            ..walk
        };
        let mut is_certain = true;
        self.ended.walk(&within, &mut |it| {
            is_certain &= it.is_key();
            if !is_certain {
                return false;
            }
            let (key, created) = split_generation_key(it.stem);
            created > walk.after || show(key)
        });
        is_certain
    }

    /// Panics unless the index is sound.
    pub fn check(&self) {
        self.live.check();
        self.ended.check();
    }
}

fn stem(key: &[u8]) -> &[u8] {
    &key[..key.len().min(STEM_BYTES_MAX)]
}

/// Rows together with the index of their keys.
#[derive(Clone, Debug)]
pub struct Indexed<V> {
    pub rows: V,
    pub keys: Option<KeyIndex>,
}

impl<V: View> View for Indexed<V> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.rows.get(table, key)
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>, direction: Direction) -> Rows<'a> {
        self.rows.scan(table, bounds, direction)
    }

    fn keys(&self) -> Option<&KeyIndex> {
        self.keys.as_ref()
    }
}
