//! A file as the process sees it and as the disk holds it.

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
    unsynced: VecDeque<FileChange>,
    /// How many changes were ever synced or given up, so that a sync under way keeps its place.
    synced: u64,
    /// The changes from here on need not be on the disk, whatever later syncs report: one before
    /// them was given up, and the process that wrote it lives.
    doubtful_from: Option<u64>,
}

#[derive(Clone, Debug)]
enum FileChange {
    Write { offset: u64, data: Bytes },
    Resize(u64),
}

impl FileChange {
    fn apply(&self, bytes: &mut SparseBytes) {
        match self {
            FileChange::Write { offset, data } => bytes.write_at(*offset, data),
            FileChange::Resize(len) => bytes.resize(*len),
        }
    }
}

/// How much of what was unsynced is there after a crash.
pub enum Kept {
    /// Only the process is gone: the system still has it, and it is still unsynced.
    All,
    /// The first `changes`, and of the write after them the first `bytes`.
    First { changes: usize, bytes: usize },
}

impl Inode {
    /// A file that holds this, all of it durable.
    pub fn of(content: SparseBytes) -> Inode {
        Inode {
            current: content.clone(),
            durable: content,
            unsynced: VecDeque::new(),
            synced: 0,
            doubtful_from: None,
        }
    }

    /// What is read now.
    pub fn content(&self) -> SparseBytes {
        self.current.clone()
    }

    /// Flips one bit of what is written, in every copy of it that there is. False if nothing is.
    pub fn flip_bit(&mut self, rng: &mut Rng) -> bool {
        let Some(offset) = self.current.draw_written(rng) else {
            return false;
        };
        let mask = 1 << rng.range(0..=7);
        for bytes in [&mut self.current, &mut self.durable] {
            let byte = bytes.read_at(offset, 1);
            if let [byte] = byte[..] {
                bytes.write_at(offset, &[byte ^ mask]);
            }
        }
        for change in &mut self.unsynced {
            if let FileChange::Write { offset: at, data } = change
                && (*at..*at + data.len() as u64).contains(&offset)
            {
                let mut bytes = data.to_vec();
                bytes[(offset - *at) as usize] ^= mask;
                *data = bytes.into();
            }
        }
        true
    }

    /// Blanks the last bytes of what is written behind `head`, in every copy of it that there is.
    /// False if nothing is.
    pub fn blank_end(&mut self, head: u64, bytes: u64) -> bool {
        let Some(last) = self.current.last_written().filter(|last| *last >= head) else {
            return false;
        };
        let start = (last + 1).saturating_sub(bytes).max(head);
        let zeros = vec![0; (last + 1 - start) as usize];
        self.unsynced.clear();
        self.current.write_at(start, &zeros);
        self.durable = self.current.clone();
        true
    }

    /// What a failed sync does: the changes before the mark will never be written, and no later
    /// sync reports. They are neither synced nor waiting to be.
    pub fn give_up(&mut self, mark: u64) {
        let count = mark.saturating_sub(self.synced) as usize;
        if count > 0 {
            self.doubtful_from.get_or_insert(self.synced);
        }
        self.unsynced.drain(..count);
        self.synced += count as u64;
    }

    pub fn len(&self) -> u64 {
        self.current.len()
    }

    pub fn read_at(&self, offset: u64, len: usize) -> Bytes {
        self.current.read_at(offset, len)
    }

    pub fn write_at(&mut self, offset: u64, data: Bytes) {
        let _part = profile::enter(profile::Part::Storage);
        self.change(FileChange::Write { offset, data });
    }

    pub fn resize(&mut self, len: u64) {
        self.change(FileChange::Resize(len));
    }

    fn change(&mut self, change: FileChange) {
        change.apply(&mut self.current);
        self.unsynced.push_back(change);
    }

    /// A mark behind the last change, for [`Inode::sync_through`].
    pub fn unsynced(&self) -> u64 {
        self.synced + self.unsynced.len() as u64
    }

    /// The mark behind the last change up to which all are on the disk.
    pub fn synced(&self) -> u64 {
        self.doubtful_from.unwrap_or(self.synced)
    }

    /// Another process opens the file, and reads what is on the disk.
    pub fn reopen(&mut self) {
        self.doubtful_from = None;
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
    pub fn draw_part(&self, rng: &mut Rng) -> Kept {
        let changes = rng.range(0..=self.unsynced.len() as u64) as usize;
        let bytes = match self.unsynced.get(changes) {
            Some(FileChange::Write { data, .. }) => {
                let bytes = rng.range(0..=data.len() as u64) as usize;
                if rng.chance(0.125) {
                    bytes
                } else {
                    bytes / SECTOR * SECTOR
                }
            }
            Some(FileChange::Resize(_)) | None => 0,
        };
        Kept::First { changes, bytes }
    }

    /// Loses what is not within `part`; gives how many changes were lost whole and in part. What
    /// is kept of a process that was killed is no more durable than it was.
    pub fn crash(&mut self, part: Kept) -> (usize, usize) {
        let (kept, bytes) = match part {
            Kept::All => {
                self.current = self.durable.clone();
                self.unsynced
                    .iter()
                    .for_each(|change| change.apply(&mut self.current));
                return (0, 0);
            }
            Kept::First { changes, bytes } => (changes, bytes),
        };
        let mut lost = self.unsynced.split_off(kept);
        self.sync_through(self.unsynced());
        let mut torn = 0;
        if bytes > 0
            && let Some(FileChange::Write { offset, data }) = lost.pop_front()
        {
            self.durable.write_at(offset, &data[..bytes]);
            torn = 1;
        }
        self.current = self.durable.clone();
        (lost.len(), torn)
    }
}
