//! The vote file: two slots written in turn, each holding two copies, so that neither a torn save
//! nor a bad page makes an answered vote unknown.
//!
//! ```text
//! copy  magic 4 | version 4 | crc 4 | length 4 | sequence 8 | vote, zeros to a page
//! ```

use super::LogError;
use super::format::{PAGE, VERSION, u32_at, u64_at};
use super::steps;
use crate::disk::{Disk, DiskFile, read_all};
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;

pub(super) const VOTE_FILE: &str = "vote";
const VOTE_FILE_NEW: &str = "vote.new";
const MAGIC: u32 = u32::from_le_bytes(*b"dvot");
const HEADER_BYTES: usize = 24;
pub(super) const VOTE_BYTES_MAX: usize = PAGE as usize - HEADER_BYTES;
const SLOT_BYTES: u64 = 2 * PAGE;

pub(super) struct VoteFile<D: Disk> {
    file: Arc<D::File>,
    path: String,
    /// How many votes were saved.
    sequence: u64,
}

impl<D: Disk> VoteFile<D> {
    /// Creates the file with no vote in it, replacing what a crash may have left.
    pub(super) async fn create(disk: &D) -> Result<VoteFile<D>, LogError> {
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
        file.write_at(0, encode_slot(0, &[]))
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
            sequence: 0,
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
        let mut newest: Option<(u64, Bytes)> = None;
        for copy in bytes.chunks(PAGE as usize) {
            match decode_copy(copy) {
                Ok((sequence, vote)) => {
                    if newest.as_ref().is_none_or(|(best, _)| sequence > *best) {
                        newest = Some((sequence, vote));
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
        let Some((sequence, vote)) = newest else {
            return Err(LogError::corrupt(
                path,
                0,
                "no copy of the vote can be read",
            ));
        };
        let file = VoteFile {
            file: Arc::new(file),
            path,
            sequence,
        };
        Ok((file, (sequence > 0).then_some(vote)))
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
        let offset = (sequence % 2) * SLOT_BYTES;
        self.file
            .write_at(offset, encode_slot(sequence, vote))
            .await
            .map_err(io("write"))?;
        steps::vote_written(vote, VOTE_FILE);
        if !detcd_core::mutant!(VoteNotDurable) {
            self.file.sync_data().await.map_err(io("sync"))?;
        }
        self.sequence = sequence;
        Ok(())
    }
}

fn encode_slot(sequence: u64, vote: &[u8]) -> Bytes {
    assert!(vote.len() <= VOTE_BYTES_MAX);
    let mut copy = BytesMut::with_capacity(SLOT_BYTES as usize);
    copy.put_u32_le(MAGIC);
    copy.put_u32_le(VERSION);
    copy.put_u32_le(0);
    copy.put_u32_le(vote.len() as u32);
    copy.put_u64_le(sequence);
    copy.put_slice(vote);
    let crc = crc32c::crc32c(&copy[12..]);
    copy[8..12].copy_from_slice(&crc.to_le_bytes());
    copy.resize(PAGE as usize, 0);
    let first = copy.clone();
    copy.put_slice(&first);
    copy.freeze()
}

/// `Err(Some(version))` if it is whole but of another version.
fn decode_copy(bytes: &[u8]) -> Result<(u64, Bytes), Option<u32>> {
    if bytes.len() < HEADER_BYTES || u32_at(bytes, 0) != MAGIC {
        return Err(None);
    }
    let end = HEADER_BYTES.saturating_add(u32_at(bytes, 12) as usize);
    if end > bytes.len() || u32_at(bytes, 8) != crc32c::crc32c(&bytes[12..end]) {
        return Err(None);
    }
    match u32_at(bytes, 4) {
        VERSION => Ok((
            u64_at(bytes, 16),
            Bytes::copy_from_slice(&bytes[HEADER_BYTES..end]),
        )),
        version => Err(Some(version)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_bytes_are_pinned() {
        let slot = encode_slot(0x41, b"vote");
        let hex: String = slot[..28]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, GOLDEN);
        assert_eq!(slot.len() as u64, SLOT_BYTES);
        let (first, second) = slot.split_at(PAGE as usize);
        assert_eq!(first, second);
        assert!(first[28..].iter().all(|byte| *byte == 0));
        assert_eq!(decode_copy(first), Ok((0x41, Bytes::from_static(b"vote"))));
        let mut later = first.to_vec();
        later[4] = 9;
        assert_eq!(decode_copy(&later), Err(Some(9)));
        later[26] ^= 1;
        assert_eq!(decode_copy(&later), Err(None));
    }

    const GOLDEN: &str = "64766f74010000001a79644f040000004100000000000000766f7465";
}
