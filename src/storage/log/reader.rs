//! Reading a segment from front to back.

use super::LogError;
use super::format::{PAGE, Seal};
use super::segments::segment_name;
use crate::disk::{Disk, DiskFile, read_all};
use bytes::Bytes;

/// Bytes of one read while the log is read through.
pub(super) const READ_BYTES: usize = 1024 * 1024;

/// Reads a segment through a window.
pub(super) struct Reader<D: Disk> {
    pub(super) id: u64,
    pub(super) seal: Seal,
    pub(super) path: String,
    pub(super) file: D::File,
    pub(super) bytes: u64,
    window: Bytes,
    window_at: u64,
}

impl<D: Disk> Reader<D> {
    pub(super) async fn open(disk: &D, id: u64) -> Result<Reader<D>, LogError> {
        let path = disk.display(&segment_name(id));
        let io = |operation| {
            let path = path.clone();
            move |error| LogError::io(path, operation, &error)
        };
        let file = disk
            .open(&segment_name(id), false)
            .await
            .map_err(io("open"))?;
        let bytes = file.len().await.map_err(io("stat"))?;
        let (window, window_at) = (Bytes::new(), 0);
        Ok(Reader {
            id,
            seal: Seal::new(0, id),
            path,
            file,
            bytes,
            window,
            window_at,
        })
    }

    /// `length` bytes from `offset`; fewer only at the end of the file.
    pub(super) async fn get(&mut self, offset: u64, length: usize) -> Result<Bytes, LogError> {
        let length = length.min(self.bytes.saturating_sub(offset) as usize);
        let window_end = self.window_at + self.window.len() as u64;
        if offset < self.window_at || offset + length as u64 > window_end {
            let read = read_all(&self.file, offset, length.max(READ_BYTES)).await;
            self.window = read.map_err(|error| LogError::io(self.path.clone(), "read", &error))?;
            self.window_at = offset;
        }
        let at = (offset - self.window_at) as usize;
        let end = (at + length).min(self.window.len());
        Ok(self.window.slice(at.min(end)..end))
    }

    /// The bytes from `offset` to the next blank page.
    pub(super) async fn extent(&mut self, offset: u64) -> Result<u64, LogError> {
        let mut end = offset;
        loop {
            let page_end = (end + 1).next_multiple_of(PAGE);
            let bytes = self.get(end, (page_end - end) as usize).await?;
            if bytes.iter().all(|byte| *byte == 0) {
                return Ok(end - offset);
            }
            end = page_end;
        }
    }
}
