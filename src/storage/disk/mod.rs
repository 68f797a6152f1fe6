//! The seam under the raft log: one flat folder of files.

mod real;

pub use real::{DataDirLock, LockError, RealDisk, RealFile};

use bytes::{Bytes, BytesMut};
use std::future::Future;
use std::io;

/// A folder of files. Names are plain (no separators). All calls come from one task at a time.
pub trait Disk: Clone + Send + Sync + 'static {
    type File: DiskFile;

    /// Opens the file, or creates it empty if `create`. A missing file is `ErrorKind::NotFound`.
    fn open(&self, name: &str, create: bool)
    -> impl Future<Output = io::Result<Self::File>> + Send;
    /// The names of all files, in any order.
    fn list(&self) -> impl Future<Output = io::Result<Vec<String>>> + Send;
    /// Replaces `to` by `from`, atomically; durable after [`Disk::sync_dir`].
    fn rename(&self, from: &str, to: &str) -> impl Future<Output = io::Result<()>> + Send;
    fn remove(&self, name: &str) -> impl Future<Output = io::Result<()>> + Send;
    /// Makes creations, renames and removals durable.
    fn sync_dir(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// How messages to an operator name the file: its full path, where there is one.
    fn display(&self, name: &str) -> String {
        name.to_string()
    }
}

/// An open file. Written bytes can be read at once and are durable after [`DiskFile::sync_data`];
/// after a failed sync nothing is known about any byte written since the last good one.
#[allow(clippy::len_without_is_empty)] // nobody asks whether a file is empty
pub trait DiskFile: Send + Sync + 'static {
    fn len(&self) -> impl Future<Output = io::Result<u64>> + Send;
    /// Up to `len` bytes from `offset`, which may be fewer than there are; none only at the end of
    /// the file. See [`read_all`].
    fn read_at(&self, offset: u64, len: usize) -> impl Future<Output = io::Result<Bytes>> + Send;
    /// Writes all of `data` at `offset`, extending the file if it ends there.
    fn write_at(&self, offset: u64, data: Bytes) -> impl Future<Output = io::Result<()>> + Send;
    fn sync_data(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// Cuts or extends (with zeros) the file to `len`.
    fn truncate(&self, len: u64) -> impl Future<Output = io::Result<()>> + Send;
    /// Reserves space for `len` bytes, so that later writes within need no new blocks. The file
    /// reads as zeros there.
    fn allocate(&self, len: u64) -> impl Future<Output = io::Result<()>> + Send;
}

/// All of `len` bytes from `offset`: fewer only at the end of the file. What a read did not give is
/// asked for again, so that a short read is never taken for the end.
pub async fn read_all(file: &impl DiskFile, offset: u64, len: usize) -> io::Result<Bytes> {
    let first = file.read_at(offset, len).await?;
    if first.len() == len || first.is_empty() {
        return Ok(first);
    }
    let mut bytes = BytesMut::from(&first[..]);
    while bytes.len() < len {
        let more = file
            .read_at(offset + bytes.len() as u64, len - bytes.len())
            .await?;
        if more.is_empty() {
            break;
        }
        bytes.extend_from_slice(&more);
    }
    Ok(bytes.freeze())
}
