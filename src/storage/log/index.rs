//! Where in the files each entry stands.

use std::collections::VecDeque;

/// The place of an entry's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) segment: u64,
    pub(super) offset: u32,
    pub(super) record_bytes: u32,
}

impl Location {
    /// Where the record ends.
    pub(super) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.record_bytes)
    }
}

/// The places of the entries from `first` on, without a gap.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// `None` until it is known where the log begins.
    first: Option<u64>,
    locations: VecDeque<Location>,
}

impl Index {
    /// The oldest entry, or the one that comes next; unknown in a log that never held any.
    pub(super) fn first(&self) -> Option<u64> {
        self.first
    }

    /// Whether any entry may come next.
    pub(super) fn is_unset(&self) -> bool {
        self.first.is_none()
    }

    /// The index after the last entry.
    pub(super) fn next(&self) -> u64 {
        self.first.unwrap_or(0) + self.locations.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.locations.is_empty()
    }

    pub(super) fn get(&self, index: u64) -> Option<Location> {
        self.locations
            .get(usize::try_from(index.checked_sub(self.first?)?).ok()?)
            .copied()
    }

    /// The segment of the oldest entry.
    pub(super) fn oldest_segment(&self) -> Option<u64> {
        self.locations.front().map(|location| location.segment)
    }

    pub(super) fn push(&mut self, index: u64, location: Location) {
        let first = *self.first.get_or_insert(index);
        assert_eq!(
            index,
            first + self.locations.len() as u64,
            "entries follow without a gap"
        );
        // Entries stand in the files in the order of their indexes: whatever came later replaced
        // the rest. Recycling segments from the oldest relies on it.
        if let Some(last) = self.locations.back() {
            assert!((last.segment, last.offset) < (location.segment, location.offset));
        }
        self.locations.push_back(location);
    }

    /// Removes the entries from `from` on.
    pub(super) fn truncate(&mut self, from: u64) {
        match self.first {
            Some(first) if from > first => {
                let keep = (from - first).min(self.locations.len() as u64);
                self.locations.truncate(keep as usize);
            }
            // Everything goes: also where the log begins.
            Some(_) if from == 0 => {
                self.locations.clear();
                self.first = None;
            }
            Some(_) => self.restart(from),
            None => {}
        }
    }

    /// Removes the entries up to `through`, which may lie beyond the last.
    pub(super) fn purge(&mut self, through: u64) {
        match self.first {
            Some(first) if through + 1 < self.next() => {
                let count = (through + 1).saturating_sub(first);
                self.locations.drain(..count as usize);
                self.first = Some(first + count);
            }
            _ => self.restart(through + 1),
        }
    }

    /// Forgets where an empty log begins: any entry may come next.
    pub(super) fn unset(&mut self) {
        assert!(self.is_empty());
        self.first = None;
    }

    pub(super) fn restart(&mut self, first: u64) {
        self.locations.clear();
        self.first = Some(first);
    }
}
