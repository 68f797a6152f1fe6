//! A file as the process sees it and as the platter holds it.

use super::bytes::SparseBytes;
use crate::profile;
use crate::rng::Rng;
use bytes::Bytes;
use std::collections::VecDeque;

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

#[derive(Debug, Default)]
pub struct Inode {
    current: SparseBytes,
    durable: SparseBytes,
    /// What separates the two, in order.
    unsynced: VecDeque<Change>,
    /// How many changes were ever synced, so that a sync under way keeps its place.
    synced: u64,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: u64, data: Bytes },
    Resize(u64),
}

impl Change {
    fn apply(&self, bytes: &mut SparseBytes) {
        match self {
            Change::Write { offset, data } => bytes.write_at(*offset, data),
            Change::Resize(len) => bytes.resize(*len),
        }
    }
}

/// How much of what was unsynced is on the platter after a crash.
pub enum Part {
    All,
    /// The first `changes`, and of the write after them the first `bytes`.
    First {
        changes: usize,
        bytes: usize,
    },
}

impl Inode {
    pub fn len(&self) -> u64 {
        self.current.len()
    }

    pub fn read_at(&self, offset: u64, len: usize) -> Bytes {
        self.current.read_at(offset, len)
    }

    pub fn write_at(&mut self, offset: u64, data: Bytes) {
        let _part = profile::enter(profile::Part::Storage);
        self.change(Change::Write { offset, data });
    }

    pub fn resize(&mut self, len: u64) {
        self.change(Change::Resize(len));
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.unsynced.push_back(change);
    }

    /// A mark behind the last change, for [`Inode::sync_through`].
    pub fn unsynced(&self) -> u64 {
        self.synced + self.unsynced.len() as u64
    }

    /// The mark behind the last change that was synced.
    pub fn synced(&self) -> u64 {
        self.synced
    }

    /// Makes all changes before the mark durable; gives how many there were left to do.
    pub fn sync_through(&mut self, mark: u64) -> usize {
        let _part = profile::enter(profile::Part::Storage);
        let count = mark.saturating_sub(self.synced) as usize;
        for change in self.unsynced.drain(..count) {
            change.apply(&mut self.durable);
        }
        self.synced += count as u64;
        count
    }

    /// Draws how far a torn crash got. Sectors are whole, except that every eighth tear falls
    /// within one.
    pub fn draw_part(&self, rng: &mut Rng) -> Part {
        let changes = rng.range(0..=self.unsynced.len() as u64) as usize;
        let bytes = match self.unsynced.get(changes) {
            Some(Change::Write { data, .. }) => {
                let bytes = rng.range(0..=data.len() as u64) as usize;
                if rng.chance(0.125) {
                    bytes
                } else {
                    bytes / SECTOR * SECTOR
                }
            }
            Some(Change::Resize(_)) | None => 0,
        };
        Part::First { changes, bytes }
    }

    /// Loses what is not within `part`; gives how many changes were lost whole and in part.
    pub fn crash(&mut self, part: Part) -> (usize, usize) {
        let (kept, bytes) = match part {
            Part::All => (self.unsynced.len(), 0),
            Part::First { changes, bytes } => (changes, bytes),
        };
        let mut lost = self.unsynced.split_off(kept);
        self.sync_through(self.unsynced());
        let mut torn = 0;
        if bytes > 0
            && let Some(Change::Write { offset, data }) = lost.pop_front()
        {
            self.durable.write_at(offset, &data[..bytes]);
            torn = 1;
        }
        self.current = self.durable.clone();
        (lost.len(), torn)
    }
}
