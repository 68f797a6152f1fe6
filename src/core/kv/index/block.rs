//! The stems of some consecutive keys, in order, each without what it shares with the one before.
//!
//! ```text
//! entry   shared  len  suffix:len          a stem is `shared` bytes of the one before, then `suffix`
//!         ... keys                         after a stem of full length: how many keys begin with it
//! ```
//! Numbers are varints. In blocks of some dozens a key takes few bytes more than what tells it from
//! its neighbours.

use super::STEM_BYTES_MAX;
use crate::encoding::put_varint;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::Range;

/// What an entry mostly takes at most besides its suffix.
const ENTRY_BYTES: usize = 16;

#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    bytes: Box<[u8]>,
    entries: usize,
}

/// An entry, and where it lies.
#[derive(Clone, Copy)]
struct Entry<'a> {
    at: usize,
    shared: usize,
    suffix: &'a [u8],
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
            bytes.truncate(entry.shared);
            bytes.extend_from_slice(entry.suffix);
            before += entry.keys;
            if rank < before {
                let keys = entry.keys;
                return Some(Stem { bytes, keys });
            }
        }
        None
    }

    /// Adds a key by its stem. False if it is there already.
    pub fn insert(&mut self, stem: &[u8]) -> bool {
        let is_full = stem.len() == STEM_BYTES_MAX;
        let place = self.find(stem);
        let mut new = Vec::with_capacity(stem.len() + ENTRY_BYTES);
        let is_known = place.found;
        let replaced = match (place.next, is_known) {
            (Some((own, _)), true) => {
                if !is_full {
                    return false;
                }
                put_entry(&mut new, own.shared, own.suffix, own.keys + 1);
                own.at..own.end
            }
            (next, _) => {
                put_entry(&mut new, place.shared, &stem[place.shared..], 1);
                match next {
                    None => self.bytes.len()..self.bytes.len(),
                    Some((next, shared)) => {
                        // It now stands behind the new stem, of which it may share more.
                        let suffix = &next.suffix[shared - next.shared..];
                        put_entry(&mut new, shared, suffix, next.keys);
                        next.at..next.end
                    }
                }
            }
        };
        self.replace(replaced, &new);
        self.entries += usize::from(!is_known);
        true
    }

    /// Takes a key out by its stem. False if it is not there.
    pub fn remove(&mut self, stem: &[u8]) -> bool {
        let place = self.find(stem);
        let Some((own, _)) = place.next.filter(|_| place.found) else {
            return false;
        };
        let mut new = Vec::new();
        let mut end = own.end;
        if own.keys > 1 {
            put_entry(&mut new, own.shared, own.suffix, own.keys - 1);
        } else {
            if let Some(next) = self.entry(own.end) {
                // What it shared with the stem that goes, it may not share with the one before.
                let lost = next.shared.saturating_sub(own.shared);
                let suffix = [&own.suffix[..lost], next.suffix].concat();
                put_entry(&mut new, next.shared - lost, &suffix, next.keys);
                end = next.end;
            }
        }
        let (at, is_last) = (own.at, own.keys == 1);
        self.replace(at..end, &new);
        self.entries -= usize::from(is_last);
        true
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
                bytes.truncate(entry.shared);
                bytes.extend_from_slice(entry.suffix);
            }
            if number == at {
                halves = Some(entry);
            }
            if number >= at {
                moved += entry.keys;
            }
        }
        let first = halves.expect("the entry is one of the block");
        let mut right = Vec::with_capacity(self.bytes.len() - first.at + first.shared);
        put_entry(&mut right, 0, &bytes, first.keys);
        right.extend_from_slice(&self.bytes[first.end..]);
        let separator = bytes[..first.shared + 1].to_vec();
        let left = Box::from(&self.bytes[..first.at]);
        let right = Block {
            bytes: right.into(),
            entries: self.entries - at,
        };
        self.bytes = left;
        self.entries = at;
        (separator, right, moved)
    }

    /// Takes over all entries of the block that stands behind this one.
    pub fn append(&mut self, right: &Block) {
        let Some(first) = right.entry(0) else {
            return;
        };
        let mut last = Vec::new();
        for entry in self.iter() {
            last.truncate(entry.shared);
            last.extend_from_slice(entry.suffix);
        }
        let shared = common(&last, first.suffix);
        let mut new = Vec::new();
        put_entry(&mut new, shared, &first.suffix[shared..], first.keys);
        let bytes = [&self.bytes[..], &new, &right.bytes[first.end..]].concat();
        self.bytes = bytes.into();
        self.entries += right.entries;
    }

    /// Whether no stem stands behind this one.
    pub fn is_last(&self, stem: &[u8]) -> bool {
        let next = self.find(stem).next;
        next.is_none_or(|(entry, _)| entry.end == self.bytes.len())
    }

    /// Panics unless the stems ascend within these bounds and are as many as the block says; gives
    /// the keys.
    pub fn check(&self, least: &[u8], limit: Option<&[u8]>) -> u64 {
        let mut stems: Vec<Vec<u8>> = Vec::new();
        let mut keys = 0;
        for entry in self.iter() {
            let mut stem = stems.last().cloned().unwrap_or_default();
            assert!(stem.len() >= entry.shared, "a stem shares what is there");
            stem.truncate(entry.shared);
            stem.extend_from_slice(entry.suffix);
            assert!(stems.last().is_none_or(|last| *last < stem), "stems ascend");
            assert!(stem.len() <= STEM_BYTES_MAX && entry.keys > 0);
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

    fn entry(&self, at: usize) -> Option<Entry<'_>> {
        if at == self.bytes.len() {
            return None;
        }
        let (shared, from) = varint(&self.bytes, at);
        let (len, from) = varint(&self.bytes, from);
        let end = from + len;
        let suffix = &self.bytes[from..end];
        let (keys, end) = match shared + len == STEM_BYTES_MAX {
            true => varint(&self.bytes, end),
            false => (1, end),
        };
        let keys = keys as u64;
        Some(Entry {
            at,
            shared,
            suffix,
            keys,
            end,
        })
    }

    fn replace(&mut self, range: Range<usize>, new: &[u8]) {
        let bytes = [&self.bytes[..range.start], new, &self.bytes[range.end..]].concat();
        self.bytes = bytes.into();
    }
}

fn put_entry(out: &mut Vec<u8>, shared: usize, suffix: &[u8], keys: u64) {
    put_varint(out, shared as u64);
    put_varint(out, suffix.len() as u64);
    out.extend_from_slice(suffix);
    if shared + suffix.len() == STEM_BYTES_MAX {
        put_varint(out, keys);
    }
}

/// The number at `at` and where it ends. The block's own bytes never lie.
#[inline]
fn varint(bytes: &[u8], at: usize) -> (usize, usize) {
    let first = bytes[at];
    if first < 0x80 {
        return (usize::from(first), at + 1);
    }
    let mut n = usize::from(first & 0x7f);
    let (mut at, mut shift) = (at + 1, 7);
    loop {
        let byte = bytes[at];
        at += 1;
        n |= usize::from(byte & 0x7f) << shift;
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
