//! The stems of some consecutive keys, in order, each without what it shares with the one before,
//! and a revision for each.
//!
//! ```text
//! entry   shared  len  suffix:len  revision    a stem is `shared` bytes of the one before, then
//!         ... keys                             `suffix`; after a stem of full length: how many
//!                                              keys begin with it
//! ```
//! Numbers are varints. In blocks of some dozens a key takes few bytes more than what tells it from
//! its neighbours. Of keys with the same stem the newest revision is kept.

use super::STEM_BYTES_MAX;
use crate::encoding::put_varint;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::Range;

/// What an entry mostly takes: a copied block has room for one more.
const ENTRY_BYTES: usize = 16;
/// A block that has shrunk gives memory back once so much of it is unused.
const UNUSED_BYTES_MAX: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
    entries: usize,
}

impl Clone for Block {
    /// A block is copied to be changed.
    fn clone(&self) -> Block {
        let mut bytes = Vec::with_capacity(self.bytes.len() + ENTRY_BYTES);
        bytes.extend_from_slice(&self.bytes);
        Block {
            bytes,
            entries: self.entries,
        }
    }
}

/// An entry, and where it lies.
#[derive(Clone, Copy)]
struct Entry<'a> {
    at: usize,
    shared: usize,
    suffix: &'a [u8],
    /// Where the suffix ends.
    suffix_end: usize,
    revision: i64,
    keys: u64,
    end: usize,
}

/// Where a stem stands among the entries, or would stand.
struct Place<'a> {
    /// The keys of the entries before it.
    keys_before: u64,
    /// What the stem shares with the entry before it.
    shared: usize,
    /// The stem's own entry, or the first one after it, with what the stem shares with that one.
    next: Option<(Entry<'a>, usize)>,
    found: bool,
}

/// What became of an insertion.
#[derive(Clone, Copy)]
pub(super) struct Inserted {
    /// False if the key was there already.
    pub is_new: bool,
    /// Whether no entry stands behind it.
    pub is_last: bool,
}

/// A key that was taken out.
#[derive(Clone, Copy)]
pub(super) struct Removed {
    pub revision: i64,
    /// Whether other keys may have had the same stem; the revision may be one of theirs.
    pub is_shared: bool,
}

/// A stem as a walk shows it.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub stem: &'a [u8],
    pub revision: i64,
}

impl Shown<'_> {
    /// Whether the stem is the one key that it stands for.
    pub fn is_key(&self) -> bool {
        self.stem.len() < STEM_BYTES_MAX
    }
}

/// A stem as an index gives it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stem {
    pub bytes: Vec<u8>,
    /// How many keys begin with it.
    pub keys: u64,
}

impl Stem {
    /// Whether the stem is the one key that it stands for.
    pub fn is_key(&self) -> bool {
        self.bytes.len() < STEM_BYTES_MAX
    }
}

impl Block {
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// How many keys stand before `stem`, and how many begin with it.
    pub fn rank(&self, stem: &[u8]) -> (u64, u64) {
        let place = self.find(stem);
        let own = place.next.filter(|_| place.found);
        (place.keys_before, own.map_or(0, |(entry, _)| entry.keys))
    }

    /// The stem of the key before which stand `rank` keys of this block.
    pub fn select(&self, rank: u64) -> Option<Stem> {
        let mut before = 0;
        let mut bytes = Vec::new();
        for entry in self.iter() {
            entry.follow(&mut bytes);
            before += entry.keys;
            if rank < before {
                let keys = entry.keys;
                return Some(Stem { bytes, keys });
            }
        }
        None
    }

    /// The newest revision of an entry, 0 without entries.
    pub fn newest(&self) -> i64 {
        self.iter().map(|entry| entry.revision).max().unwrap_or(0)
    }

    /// Shows all stems in order, until `show` says false.
    pub fn all(&self, show: &mut dyn FnMut(Shown<'_>) -> bool) -> bool {
        let mut stem = Vec::with_capacity(64);
        for entry in self.iter() {
            entry.follow(&mut stem);
            let revision = entry.revision;
            let stem = &stem[..];
            if !show(Shown { stem, revision }) {
                return false;
            }
        }
        true
    }

    /// Adds a key by its stem.
    pub fn insert(&mut self, stem: &[u8], revision: i64) -> Inserted {
        let is_full = stem.len() == STEM_BYTES_MAX;
        let place = self.find(stem);
        let is_known = place.found;
        let is_last = match place.next {
            Some((own, _)) if is_known => own.end == self.bytes.len(),
            next => next.is_none(),
        };
        let mut new = Piece::default();
        let replaced = match (place.next, is_known) {
            (Some((own, _)), true) => {
                if !is_full {
                    let is_new = false;
                    return Inserted { is_new, is_last };
                }
                new.numbers(own.revision.max(revision), Some(own.keys + 1));
                own.suffix_end..own.end
            }
            (next, _) => {
                new.head(place.shared, stem.len() - place.shared);
                new.bytes(&stem[place.shared..]);
                new.numbers(revision, is_full.then_some(1));
                match next {
                    None => self.bytes.len()..self.bytes.len(),
                    Some((next, shared)) => {
                        // It now stands behind the new stem, of which it may share more.
                        let lost = shared - next.shared;
                        new.head(shared, next.suffix.len() - lost);
                        let suffix_at = next.suffix_end - next.suffix.len();
                        next.at..suffix_at + lost
                    }
                }
            }
        };
        self.replace(replaced, new.as_ref());
        self.entries += usize::from(!is_known);
        let is_new = true;
        Inserted { is_new, is_last }
    }

    /// Takes a key out by its stem, if it is there.
    pub fn remove(&mut self, stem: &[u8]) -> Option<Removed> {
        let place = self.find(stem);
        let (own, _) = place.next.filter(|_| place.found)?;
        let removed = Removed {
            revision: own.revision,
            is_shared: stem.len() == STEM_BYTES_MAX,
        };
        let mut new = Piece::default();
        if own.keys > 1 {
            new.numbers(own.revision, Some(own.keys - 1));
            let numbers = own.suffix_end..own.end;
            self.replace(numbers, new.as_ref());
            return Some(removed);
        }
        let mut end = own.end;
        if let Some(next) = self.entry(own.end) {
            // What it shared with the stem that goes, it may not share with the one before.
            let lost = next.shared.saturating_sub(own.shared);
            new.head(next.shared - lost, lost + next.suffix.len());
            new.bytes(&own.suffix[..lost]);
            end = next.suffix_end - next.suffix.len();
        }
        let whole = own.at..end;
        self.replace(whole, new.as_ref());
        self.entries -= 1;
        if self.bytes.capacity() > self.bytes.len() + UNUSED_BYTES_MAX {
            self.bytes.shrink_to_fit();
        }
        Some(removed)
    }

    /// Adds a key whose stem is not less than `last`, the stem that was added last.
    pub fn push(&mut self, last: &[u8], stem: &[u8], revision: i64) {
        let mut new = Piece::default();
        let shared = common(last, stem);
        new.head(shared, stem.len() - shared);
        new.bytes(&stem[shared..]);
        new.numbers(revision, (stem.len() == STEM_BYTES_MAX).then_some(1));
        self.bytes.extend_from_slice(new.as_ref());
        self.entries += 1;
    }

    /// Gives back memory that no entry takes.
    pub fn fit(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Moves the entries from `at` on, at least one, into a block of their own. Gives the shortest
    /// stem that stands between both, and how many keys were moved.
    pub fn split(&mut self, at: usize) -> (Vec<u8>, Block, u64) {
        assert!(0 < at && at < self.entries, "both halves have entries");
        let mut bytes = Vec::new();
        let mut halves = None;
        let mut moved = 0;
        for (number, entry) in self.iter().enumerate() {
            if number <= at {
                entry.follow(&mut bytes);
            }
            if number == at {
                halves = Some(entry);
            }
            if number >= at {
                moved += entry.keys;
            }
        }
        let first = halves.expect("the entry is one of the block");
        let mut right =
            Vec::with_capacity(self.bytes.len() - first.at + first.shared + ENTRY_BYTES);
        put_varint(&mut right, 0);
        put_varint(&mut right, bytes.len() as u64);
        right.extend_from_slice(&bytes);
        right.extend_from_slice(&self.bytes[first.suffix_end..]);
        let separator = bytes[..first.shared + 1].to_vec();
        let right = Block {
            bytes: right,
            entries: self.entries - at,
        };
        let end = first.at;
        self.bytes.truncate(end);
        self.bytes.shrink_to_fit();
        self.entries = at;
        (separator, right, moved)
    }

    /// Takes over all entries of the block that stands behind this one.
    pub fn append(&mut self, right: &Block) {
        let Some(first) = right.entry(0) else {
            return;
        };
        let mut last = Vec::new();
        self.iter().for_each(|entry| entry.follow(&mut last));
        let shared = common(&last, first.suffix);
        let mut new = Piece::default();
        new.head(shared, first.suffix.len() - shared);
        let rest = &right.bytes[first.suffix_end - (first.suffix.len() - shared)..];
        self.bytes.reserve_exact(new.as_ref().len() + rest.len());
        self.bytes.extend_from_slice(new.as_ref());
        self.bytes.extend_from_slice(rest);
        self.entries += right.entries;
    }

    /// Panics unless the stems ascend within these bounds, are as many as the block says and no
    /// newer than `newest`; gives the keys.
    pub fn check(&self, least: &[u8], limit: Option<&[u8]>, newest: i64) -> u64 {
        let mut stems: Vec<Vec<u8>> = Vec::new();
        let mut keys = 0;
        for entry in self.iter() {
            let mut stem = stems.last().cloned().unwrap_or_default();
            assert!(stem.len() >= entry.shared, "a stem shares what is there");
            entry.follow(&mut stem);
            assert!(stems.last().is_none_or(|last| *last < stem), "stems ascend");
            assert!(stem.len() <= STEM_BYTES_MAX && entry.keys > 0);
            assert!(entry.revision <= newest, "a node bounds its revisions");
            keys += entry.keys;
            assert!(&stem[..] >= least && limit.is_none_or(|limit| &stem[..] < limit));
            stems.push(stem);
        }
        assert_eq!(stems.len(), self.entries);
        keys
    }

    fn find(&self, stem: &[u8]) -> Place<'_> {
        let mut keys_before = 0;
        // What the stem shares with the entry before; no byte is compared twice.
        let mut shared = 0;
        for entry in self.iter() {
            let next = |with_next, found| Place {
                keys_before,
                shared,
                next: Some((entry, with_next)),
                found,
            };
            match entry.shared.cmp(&shared) {
                // It leaves what the stem shares with the one before, so it is the greater one.
                Ordering::Less => return next(entry.shared, false),
                Ordering::Equal => {
                    let rest = &stem[shared..];
                    let same = common(entry.suffix, rest);
                    if entry.suffix >= rest {
                        return next(shared + same, entry.suffix == rest);
                    }
                    shared += same;
                }
                Ordering::Greater => {}
            }
            keys_before += entry.keys;
        }
        Place {
            keys_before,
            shared,
            next: None,
            found: false,
        }
    }

    fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut at = 0;
        core::iter::from_fn(move || {
            let entry = self.entry(at)?;
            at = entry.end;
            Some(entry)
        })
    }

    #[inline]
    fn entry(&self, at: usize) -> Option<Entry<'_>> {
        if at == self.bytes.len() {
            return None;
        }
        let (shared, from) = varint(&self.bytes, at);
        let (len, from) = varint(&self.bytes, from);
        let suffix_end = from + len as usize;
        let suffix = &self.bytes[from..suffix_end];
        let (revision, end) = varint(&self.bytes, suffix_end);
        let shared = shared as usize;
        let (keys, end) = match shared + suffix.len() == STEM_BYTES_MAX {
            true => varint(&self.bytes, end),
            false => (1, end),
        };
        Some(Entry {
            at,
            shared,
            suffix,
            suffix_end,
            revision: revision as i64,
            keys,
            end,
        })
    }

    fn replace(&mut self, range: Range<usize>, new: &[u8]) {
        let (before, removed) = (self.bytes.len(), range.len());
        if new.len() > removed {
            let more = new.len() - removed;
            self.bytes.reserve_exact(more);
            self.bytes.resize(before + more, 0);
        }
        self.bytes
            .copy_within(range.end..before, range.start + new.len());
        self.bytes.truncate(before - removed + new.len());
        self.bytes[range.start..range.start + new.len()].copy_from_slice(new);
    }
}

impl Entry<'_> {
    /// Makes the stem of the entry before that of this one.
    fn follow(&self, stem: &mut Vec<u8>) {
        stem.truncate(self.shared);
        stem.extend_from_slice(self.suffix);
    }
}

/// Bytes to be put into a block, without an allocation.
struct Piece {
    bytes: [u8; Piece::BYTES_MAX],
    len: usize,
}

impl Default for Piece {
    fn default() -> Piece {
        Piece {
            bytes: [0; Piece::BYTES_MAX],
            len: 0,
        }
    }
}

impl Piece {
    /// A stem, two heads, a revision and a count.
    const BYTES_MAX: usize = STEM_BYTES_MAX + 6 * 10;

    fn head(&mut self, shared: usize, len: usize) {
        self.varint(shared as u64);
        self.varint(len as u64);
    }

    fn numbers(&mut self, revision: i64, keys: Option<u64>) {
        self.varint(revision as u64);
        if let Some(keys) = keys {
            self.varint(keys);
        }
    }

    fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.bytes(&[n as u8 | 0x80]);
            n >>= 7;
        }
        self.bytes(&[n as u8]);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The number at `at` and where it ends. The block's own bytes never lie.
#[inline]
fn varint(bytes: &[u8], at: usize) -> (u64, usize) {
    let first = bytes[at];
    if first < 0x80 {
        return (u64::from(first), at + 1);
    }
    let mut n = u64::from(first & 0x7f);
    let (mut at, mut shift) = (at + 1, 7);
    loop {
        let byte = bytes[at];
        at += 1;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return (n, at);
        }
        shift += 7;
    }
}

#[inline]
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
