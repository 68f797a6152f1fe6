//! The vote file: two slots written in turn, each holding two copies, so that neither a torn save
//! nor a bad page makes an answered vote unknown.
//!
//! ```text
//! copy  magic 4 | version 4 | crc 4 | length 4 | sequence 8 | vote, zeros to a page
//! ```

use super::disk_trace;
use super::format::PAGE;
use super::note::Synced;
use super::{LogError, LogOwner};
use crate::disk::{Disk, DiskFile, read_all};
use bytes::{BufMut, Bytes, BytesMut};
use detcd_core::encoding::{u32_le_at, u64_le_at};
use std::sync::Arc;

pub(super) const VOTE_FILE: &str = "vote";
const VOTE_FILE_NEW: &str = "vote.new";
const MAGIC: u32 = u32::from_le_bytes(*b"dvot");
/// Since 2 the file names its log and its owner.
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 48;
const HEADER_BYTES_1: usize = 24;
pub(super) const VOTE_BYTES_MAX: usize = PAGE as usize - HEADER_BYTES;
const SLOT_BYTES: u64 = 2 * PAGE;

/// Which log the file belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) salt: u64,
    /// Not known in logs of the first format, and in those of nobody.
    pub(super) owner: Option<LogOwner>,
}

pub(super) struct VoteFile<D: Disk> {
    file: Arc<D::File>,
    path: String,
    /// How many votes were saved.
    sequence: u64,
    stamp: Stamp,
    /// `None` in a file of the first format.
    stamped: Option<Stamp>,
}

impl<D: Disk> VoteFile<D> {
    /// Puts a file with this vote in place, whole and durable, whatever was there.
    pub(super) async fn create(
        disk: &D,
        stamp: Stamp,
        (sequence, vote): (u64, &[u8]),
    ) -> Result<VoteFile<D>, LogError> {
        let path = disk.display(VOTE_FILE);
        let io = |operation| {
            let path = path.clone();
            move |error| LogError::io(path, operation, &error)
        };
        let file = disk.open(VOTE_FILE_NEW, true).await.map_err(io("create"))?;
        file.truncate(0).await.map_err(io("truncate"))?;
        file.allocate(2 * SLOT_BYTES)
            .await
            .map_err(io("allocate"))?;
        file.write_at(slot_of(sequence), encode_slot(stamp, sequence, vote))
            .await
            .map_err(io("write"))?;
        file.sync_data().await.map_err(io("sync"))?;
        disk.rename(VOTE_FILE_NEW, VOTE_FILE)
            .await
            .map_err(io("rename"))?;
        disk.sync_dir().await.map_err(io("sync of the folder"))?;
        Ok(VoteFile {
            file: Arc::new(file),
            path,
            sequence,
            stamp,
            stamped: Some(stamp),
        })
    }

    pub(super) async fn load(disk: &D) -> Result<(VoteFile<D>, Option<Bytes>), LogError> {
        let path = disk.display(VOTE_FILE);
        let io = |operation| {
            let path = path.clone();
            move |error| LogError::io(path, operation, &error)
        };
        let file = disk.open(VOTE_FILE, false).await.map_err(io("open"))?;
        let bytes = read_all(&file, 0, 2 * SLOT_BYTES as usize)
            .await
            .map_err(io("read"))?;
        let mut newest: Option<VoteCopy> = None;
        let mut stamped = None;
        for copy in bytes.chunks(PAGE as usize) {
            match decode_copy(copy) {
                Ok(copy) => {
                    stamped = copy.stamp.or(stamped);
                    if newest
                        .as_ref()
                        .is_none_or(|best| copy.sequence > best.sequence)
                    {
                        newest = Some(copy);
                    }
                }
                Err(Some(found)) => {
                    return Err(LogError::Version {
                        file: path,
                        found,
                        ours: VERSION,
                    });
                }
                Err(None) => {}
            }
        }
        let Some(newest) = newest else {
            return Err(LogError::corrupt(
                path,
                0,
                "no copy of the vote can be read",
            ));
        };
        let file = VoteFile {
            file: Arc::new(file),
            path,
            sequence: newest.sequence,
            stamp: stamped.unwrap_or_default(),
            stamped,
        };
        Ok((file, (newest.sequence > 0).then_some(newest.vote)))
    }

    /// Whether anything was saved in it, or it is of a log that has a note.
    pub(super) fn was_used(&self) -> bool {
        self.sequence > 0 || self.stamped.is_some()
    }

    /// Where the last vote stands that was noted.
    pub(super) fn last_slot(&self, synced: &Synced) -> u64 {
        slot_of(synced.vote)
    }

    /// The log that the file says it belongs to; `None` in a file of the first format.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.stamped
    }

    /// Makes durable what was read.
    pub(super) async fn sync(&self) -> Result<(), LogError> {
        let synced = self.file.sync_data().await;
        synced.map_err(|error| LogError::io(self.path.clone(), "sync", &error))
    }

    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Saves the vote durably, in the slot that does not hold the last one.
    pub(super) async fn save(&mut self, vote: &[u8]) -> Result<(), LogError> {
        let io = |operation| {
            let path = self.path.clone();
            move |error| LogError::io(path, operation, &error)
        };
        let sequence = self.sequence + 1;
        self.file
            .write_at(slot_of(sequence), encode_slot(self.stamp, sequence, vote))
            .await
            .map_err(io("write"))?;
        disk_trace::vote_written(vote, VOTE_FILE);
        if !detcd_core::mutant!(VoteNotDurable) {
            self.file.sync_data().await.map_err(io("sync"))?;
        }
        self.sequence = sequence;
        Ok(())
    }
}

fn slot_of(sequence: u64) -> u64 {
    (sequence % 2) * SLOT_BYTES
}

fn encode_slot(stamp: Stamp, sequence: u64, vote: &[u8]) -> Bytes {
    assert!(vote.len() <= VOTE_BYTES_MAX);
    let owner = stamp.owner.unwrap_or(LogOwner::NOBODY);
    let mut copy = BytesMut::with_capacity(SLOT_BYTES as usize);
    copy.put_u32_le(MAGIC);
    copy.put_u32_le(VERSION);
    copy.put_u32_le(0);
    copy.put_u32_le(vote.len() as u32);
    copy.put_u64_le(sequence);
    copy.put_u64_le(stamp.salt);
    copy.put_u64_le(owner.cluster_id);
    copy.put_u64_le(owner.member_id);
    copy.put_slice(vote);
    let crc = crc32c::crc32c(&copy[12..]);
    copy[8..12].copy_from_slice(&crc.to_le_bytes());
    copy.resize(PAGE as usize, 0);
    let first = copy.clone();
    copy.put_slice(&first);
    copy.freeze()
}

/// What one copy holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct VoteCopy {
    sequence: u64,
    stamp: Option<Stamp>,
    vote: Bytes,
}

/// `Err(Some(version))` if it is whole but of another version.
fn decode_copy(bytes: &[u8]) -> Result<VoteCopy, Option<u32>> {
    if bytes.len() < HEADER_BYTES || u32_le_at(bytes, 0) != MAGIC {
        return Err(None);
    }
    let version = u32_le_at(bytes, 4);
    let header_bytes = match version {
        1 => HEADER_BYTES_1,
        _ => HEADER_BYTES,
    };
    let end = header_bytes.saturating_add(u32_le_at(bytes, 12) as usize);
    if end > bytes.len() || u32_le_at(bytes, 8) != crc32c::crc32c(&bytes[12..end]) {
        return Err(None);
    }
    let stamp = match version {
        1 => None,
        VERSION => Some(Stamp {
            salt: u64_le_at(bytes, 24),
            owner: LogOwner::new(u64_le_at(bytes, 32), u64_le_at(bytes, 40)),
        }),
        version => return Err(Some(version)),
    };
    Ok(VoteCopy {
        sequence: u64_le_at(bytes, 16),
        stamp,
        vote: Bytes::copy_from_slice(&bytes[header_bytes..end]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        salt: 0x0807_0605_0403_0201,
        owner: Some(LogOwner {
            cluster_id: 0x1817_1615_1413_1211,
            member_id: 0x2827_2625_2423_2221,
        }),
    };

    #[test]
    fn slot_bytes_are_pinned() {
        let slot = encode_slot(STAMP, 0x41, b"vote");
        let hex: String = slot[..52]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, GOLDEN);
        assert_eq!(slot.len() as u64, SLOT_BYTES);
        let (first, second) = slot.split_at(PAGE as usize);
        assert_eq!(first, second);
        assert!(first[52..].iter().all(|byte| *byte == 0));
        let copy = VoteCopy {
            sequence: 0x41,
            stamp: Some(STAMP),
            vote: Bytes::from_static(b"vote"),
        };
        assert_eq!(decode_copy(first), Ok(copy));
        let mut flipped = first.to_vec();
        flipped[50] ^= 1;
        assert_eq!(decode_copy(&flipped), Err(None));
        let mut later = first.to_vec();
        later[4] = 9;
        assert_eq!(decode_copy(&later), Err(Some(9)));
    }

    #[test]
    fn slots_of_the_first_format_are_read() {
        let mut first: Vec<u8> = (0..GOLDEN_1.len() / 2)
            .map(|at| u8::from_str_radix(&GOLDEN_1[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        first.resize(PAGE as usize, 0);
        let copy = VoteCopy {
            sequence: 0x41,
            stamp: None,
            vote: Bytes::from_static(b"vote"),
        };
        assert_eq!(decode_copy(&first), Ok(copy));
    }

    const GOLDEN: &str = "64766f7402000000c88ca98f0400000041000000000000000102030405060708\
        11121314151617182122232425262728766f7465";
    const GOLDEN_1: &str = "64766f74010000001a79644f040000004100000000000000766f7465";
}
