//! Files of the operating system.

use super::{Disk, DiskFile};
use crate::advice::advice;
use bytes::{Bytes, BytesMut};
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Data is nobody's but the owner's.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A folder. The futures do their work when they are polled and never wait: they block, so they
/// belong on a thread of their own.
#[derive(Clone, Debug)]
pub struct RealDisk {
    folder: Arc<Folder>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// Open for its sync.
    handle: File,
}

/// A file in the folder.
#[derive(Debug)]
pub struct RealFile {
    file: File,
}

impl RealDisk {
    /// Opens the folder; creates it, and whatever is missing above it, durably.
    pub fn open(path: impl AsRef<Path>) -> io::Result<RealDisk> {
        let path = path.as_ref().to_path_buf();
        create_folder(&path)?;
        let handle = File::open(&path)?;
        Ok(RealDisk {
            folder: Arc::new(Folder { path, handle }),
        })
    }

    pub fn path(&self) -> &Path {
        &self.folder.path
    }

    fn path_of(&self, name: &str) -> PathBuf {
        assert!(
            !name.is_empty() && !name.contains('/'),
            "a plain name: {name:?}"
        );
        self.folder.path.join(name)
    }
}

fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_folder(parent)?;
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

impl Disk for RealDisk {
    type File = RealFile;

    async fn open(&self, name: &str, create: bool) -> io::Result<RealFile> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(create)
            .mode(FILE_MODE)
            .truncate(false);
        Ok(RealFile {
            file: options.open(self.path_of(name))?,
        })
    }

    async fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        Ok(names)
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path_of(from), self.path_of(to))
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path_of(name))
    }

    async fn sync_dir(&self) -> io::Result<()> {
        self.folder.handle.sync_all()
    }

    fn display(&self, name: &str) -> String {
        match name {
            "." => self.folder.path.display().to_string(),
            name => self.folder.path.join(name).display().to_string(),
        }
    }
}

impl DiskFile for RealFile {
    async fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        // Allocate no more than there is: callers may ask for more than the file holds.
        let there = self.file.metadata()?.len().saturating_sub(offset);
        let mut bytes = BytesMut::zeroed(usize::try_from(there).unwrap_or(len).min(len));
        let mut filled = 0;
        while filled < bytes.len() {
            match self
                .file
                .read_at(&mut bytes[filled..], offset + filled as u64)
            {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes.freeze())
    }

    async fn write_at(&self, offset: u64, data: Bytes) -> io::Result<()> {
        self.file.write_all_at(&data, offset)
    }

    async fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    async fn allocate(&self, len: u64) -> io::Result<()> {
        match fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP) => fill(&self.file, len),
            Err(error) => Err(error.into()),
        }
    }
}

/// Reserves space on file systems that cannot, by writing zeros after the end.
fn fill(file: &File, len: u64) -> io::Result<()> {
    let zeros = vec![0; 1024 * 1024];
    let mut end = file.metadata()?.len();
    while end < len {
        let count = (len - end).min(zeros.len() as u64);
        file.write_all_at(&zeros[..count as usize], end)?;
        end += count;
    }
    Ok(())
}

/// Holds a data directory for this process; let go when dropped or when the process ends.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

/// Why the data directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("data-dir {path} is in use by another process; stop it or choose another --data-dir")]
    InUse { path: String },
    #[error("cannot lock data-dir {path}: {source}; {}", advice(source))]
    Io { path: String, source: io::Error },
}

impl DataDirLock {
    pub const FILE: &'static str = "lock";

    /// Takes the folder, which is created if it is missing.
    pub fn take(folder: impl AsRef<Path>) -> Result<DataDirLock, LockError> {
        let folder = folder.as_ref();
        let path = folder.display().to_string();
        let io = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        create_folder(folder).map_err(io)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.mode(FILE_MODE);
        let file = options.open(folder.join(DataDirLock::FILE)).map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(DataDirLock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::InUse { path }),
            Err(error) => Err(io(error.into())),
        }
    }
}
