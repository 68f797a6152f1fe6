//! The note of what is durable: up to which frame and which saved vote.
//!
//! It is written after each sync and synced itself only now and then, so a power failure may take
//! it back, but never away: unsynced writes go to the slot that was not synced last, and the other
//! one stays whole. Whatever else is missing from it is damage.
//!
//! ```text
//! file  two slots of a page
//! slot  copy, zeros to 512 bytes, copy, zeros
//! copy  magic 8 | salt 8 | frame 8 | vote 8 | crc 4
//! ```
//! Two copies, so that one bad bit does not take a slot back to an earlier note.

use super::LogError;
use super::format::PAGE;
use crate::disk::{Disk, DiskFile, read_all};
use bytes::Bytes;
use detcd_core::encoding::{u32_le_at, u64_le_at};

pub(super) const NOTE_FILE: &str = "synced";
const NOTE_FILE_NEW: &str = "synced.new";
const MAGIC: [u8; 8] = *b"dsynced2";
const COPY_BYTES: usize = 36;
/// Copies stand in sectors of their own.
const COPY_AT: [usize; 2] = [0, 512];
const SLOT_WRITTEN: usize = COPY_AT[1] + COPY_BYTES;
const FILE_BYTES: u64 = 2 * PAGE;

/// The first format: one copy in one page, which could be all zeros in a healthy log.
const MAGIC_1: [u8; 8] = *b"dsynced1";
const BYTES_1: usize = 32;
const FILE_BYTES_1: u64 = PAGE;

/// Up to which frame and which saved vote everything is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Synced {
    pub(super) frame: u64,
    pub(super) vote: u64,
}

/// What there is of the note.
pub(super) enum Found<D: Disk> {
    Missing,
    Whole(NoteFile<D>, Synced),
    /// A note of the first format says nothing if it never reached the disk.
    Format1(Synced),
}

/// The note of a log that is open.
pub(super) struct NoteFile<D: Disk> {
    file: D::File,
    path: String,
    pub(super) salt: u64,
    /// Where the next write goes: never to the slot that was synced last.
    next_slot: u64,
}

impl<D: Disk> NoteFile<D> {
    /// Puts a note in place, whole and durable, whatever was there.
    pub(super) async fn create(
        disk: &D,
        salt: u64,
        synced: Synced,
    ) -> Result<NoteFile<D>, LogError> {
        let path = disk.display(NOTE_FILE);
        let io = |operation| {
            let path = path.clone();
            move |error| LogError::io(path, operation, &error)
        };
        let file = disk.open(NOTE_FILE_NEW, true).await.map_err(io("create"))?;
        let mut bytes = encode_slot(salt, synced);
        bytes.resize(PAGE as usize, 0);
        bytes.extend_from_within(..);
        file.truncate(FILE_BYTES).await.map_err(io("truncate"))?;
        let written = file.write_at(0, bytes.into()).await;
        written.map_err(io("write"))?;
        file.sync_data().await.map_err(io("sync"))?;
        disk.rename(NOTE_FILE_NEW, NOTE_FILE)
            .await
            .map_err(io("rename"))?;
        disk.sync_dir().await.map_err(io("sync of the folder"))?;
        Ok(NoteFile {
            file,
            path,
            salt,
            next_slot: 0,
        })
    }

    pub(super) async fn find(disk: &D) -> Result<Found<D>, LogError> {
        let path = disk.display(NOTE_FILE);
        let io = |operation| {
            let path = path.clone();
            move |error| LogError::io(path, operation, &error)
        };
        let file = match disk.open(NOTE_FILE, false).await {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Found::Missing);
            }
            Err(error) => return Err(io("open")(error)),
        };
        let length = file.len().await.map_err(io("stat"))?;
        let bytes = read_all(&file, 0, FILE_BYTES as usize).await;
        let bytes = bytes.map_err(io("read"))?;
        if length == FILE_BYTES_1 {
            return Ok(Found::Format1(decode_1(&bytes).unwrap_or_default()));
        }
        if length != FILE_BYTES {
            let what = format!("the note of what was synced has {length} bytes, not {FILE_BYTES}");
            return Err(LogError::corrupt(path, 0, what));
        }
        let (salt, synced, newest) = match decode(&bytes) {
            Ok(decoded) => decoded,
            Err((offset, what)) => return Err(LogError::corrupt(path, offset, what)),
        };
        let note = NoteFile {
            file,
            path,
            salt,
            next_slot: 1 - newest,
        };
        Ok(Found::Whole(note, synced))
    }

    /// Notes what is durable, without waiting for the note itself.
    pub(super) async fn write(&self, synced: Synced) -> Result<(), LogError> {
        let bytes = Bytes::from(encode_slot(self.salt, synced));
        let written = self.file.write_at(self.next_slot * PAGE, bytes).await;
        written.map_err(|error| self.failed("write", &error))
    }

    /// Makes what was written last durable.
    pub(super) async fn sync(&mut self) -> Result<(), LogError> {
        let synced = self.file.sync_data().await;
        synced.map_err(|error| self.failed("sync", &error))?;
        self.next_slot = 1 - self.next_slot;
        Ok(())
    }

    fn failed(&self, operation: &'static str, error: &std::io::Error) -> LogError {
        LogError::io(self.path.clone(), operation, error)
    }
}

fn encode_slot(salt: u64, synced: Synced) -> Vec<u8> {
    let mut copy = Vec::with_capacity(PAGE as usize * 2);
    copy.extend_from_slice(&MAGIC);
    for number in [salt, synced.frame, synced.vote] {
        copy.extend_from_slice(&number.to_le_bytes());
    }
    let crc = crc32c::crc32c(&copy);
    copy.extend_from_slice(&crc.to_le_bytes());
    copy.resize(COPY_AT[1], 0);
    copy.extend_from_within(..COPY_BYTES);
    debug_assert_eq!(copy.len(), SLOT_WRITTEN);
    copy
}

/// The salt, the newest note, and the slot in which it stands; or where the note is damaged.
fn decode(bytes: &[u8]) -> Result<(u64, Synced, u64), (u64, &'static str)> {
    let slots: Vec<&[u8]> = bytes.chunks(PAGE as usize).collect();
    let copies = |slot: usize| COPY_AT.map(|at| &slots[slot][at..at + COPY_BYTES]);
    let mut newest: Option<(u64, Synced, u64)> = None;
    for slot in 0..2 {
        for copy in copies(slot) {
            let Some((salt, synced)) = decode_copy(copy) else {
                continue;
            };
            match &mut newest {
                Some((known, ..)) if *known != salt => {
                    return Err((slot as u64 * PAGE, "the note holds those of two logs"));
                }
                Some((_, best, _)) if synced.sum() <= best.sum() => {}
                _ => newest = Some((salt, synced, slot as u64)),
            }
        }
    }
    let Some(newest) = newest else {
        return Err((0, "no copy of the note of what was synced can be read"));
    };
    // A write that the power cut short leaves what is equal in every note.
    let is_torn = |copy: &[u8]| copy[..8] == MAGIC && u64_le_at(copy, 8) == newest.0;
    for slot in 0..2 {
        let [one, two] = copies(slot);
        let whole = [one, two].map(|copy| decode_copy(copy).is_some());
        if whole == [false, false] && !(is_torn(one) && is_torn(two)) {
            let what = "a part of the note of what was synced is gone";
            return Err((slot as u64 * PAGE, what));
        }
    }
    Ok(newest)
}

fn decode_copy(copy: &[u8]) -> Option<(u64, Synced)> {
    let whole = copy[..8] == MAGIC && u32_le_at(copy, 32) == crc32c::crc32c(&copy[..32]);
    whole.then(|| {
        let synced = Synced {
            frame: u64_le_at(copy, 16),
            vote: u64_le_at(copy, 24),
        };
        (u64_le_at(copy, 8), synced)
    })
}

fn decode_1(bytes: &[u8]) -> Option<Synced> {
    let whole = bytes.len() >= BYTES_1
        && bytes[..8] == MAGIC_1
        && u32_le_at(bytes, 24) == crc32c::crc32c(&bytes[..24]);
    whole.then(|| Synced {
        frame: u64_le_at(bytes, 8),
        vote: u64_le_at(bytes, 16),
    })
}

impl Synced {
    /// Both numbers only ever grow: the larger sum is the later note.
    fn sum(self) -> u64 {
        self.frame.saturating_add(self.vote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 0x0807_0605_0403_0201;
    const EARLY: Synced = Synced { frame: 7, vote: 2 };
    const LATE: Synced = Synced {
        frame: 0x41,
        vote: 0x51,
    };

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn file(first: Synced, second: Synced) -> Vec<u8> {
        let page = |synced| {
            let mut page = encode_slot(SALT, synced);
            page.resize(PAGE as usize, 0);
            page
        };
        [page(first), page(second)].concat()
    }

    #[test]
    fn note_bytes_are_pinned() {
        let slot = encode_slot(SALT, LATE);
        assert_eq!(hex(&slot[..COPY_BYTES]), GOLDEN);
        assert_eq!(slot[COPY_AT[1]..], slot[..COPY_BYTES]);
        assert_eq!(decode(&file(LATE, EARLY)), Ok((SALT, LATE, 0)));
        assert_eq!(decode(&file(EARLY, LATE)), Ok((SALT, LATE, 1)));
    }

    #[test]
    fn one_flipped_bit_anywhere_takes_nothing_back() {
        let whole = file(EARLY, LATE);
        for bit in 0..whole.len() * 8 {
            let mut bad = whole.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad), Ok((SALT, LATE, 1)), "bit {bit}");
        }
    }

    #[test]
    fn a_slot_that_is_torn_leaves_the_other() {
        let mut torn = file(EARLY, LATE);
        for at in COPY_AT {
            torn[PAGE as usize + at + 16] ^= 0xff;
        }
        assert_eq!(decode(&torn), Ok((SALT, EARLY, 0)));
    }

    #[test]
    fn a_slot_that_is_gone_is_damage() {
        for slot in [0, 1] {
            let mut bad = file(EARLY, LATE);
            let start = slot * PAGE as usize;
            bad[start..start + SLOT_WRITTEN].fill(0);
            assert_eq!(decode(&bad).unwrap_err().0, start as u64);
        }
        assert!(decode(&[0; FILE_BYTES as usize]).is_err());
    }

    #[test]
    fn the_note_of_another_log_is_damage() {
        let mut mixed = file(EARLY, LATE);
        mixed[..SLOT_WRITTEN].copy_from_slice(&encode_slot(SALT + 1, EARLY));
        assert!(decode(&mixed).is_err());
    }

    #[test]
    fn notes_of_the_first_format_are_read() {
        let bytes: Vec<u8> = (0..GOLDEN_1.len() / 2)
            .map(|at| u8::from_str_radix(&GOLDEN_1[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        assert_eq!(decode_1(&bytes), Some(LATE));
        assert_eq!(decode_1(&[0; BYTES_1]), None);
        assert_eq!(decode_1(&bytes[..20]), None);
    }

    const GOLDEN: &str = "6473796e63656432010203040506070841000000000000005100000000000000bdac6669";
    const GOLDEN_1: &str = "6473796e63656431410000000000000051000000000000009ae521be00000000";
}
