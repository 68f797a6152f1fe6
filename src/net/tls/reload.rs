//! What was read from files, until the files change.

use super::files::TlsError;
use std::fs::metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

type Load<T> = Box<dyn Fn() -> Result<T, TlsError> + Send + Sync>;

/// A value made of files. A change that cannot be read leaves the older value.
pub(super) struct Reloading<T> {
    paths: Vec<PathBuf>,
    load: Load<T>,
    state: Mutex<State<T>>,
    failures: AtomicU64,
}

struct State<T> {
    seen: Vec<Option<Stamp>>,
    value: Arc<T>,
}

/// What differs between two contents of a file.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    /// The device and the inode: a file may be replaced by another.
    file: (u64, u64),
    length: u64,
    /// Seconds and nanoseconds of the content's and of the inode's last change.
    changed: [i64; 4],
}

impl<T> Reloading<T> {
    pub fn new(paths: Vec<PathBuf>, load: Load<T>) -> Result<Reloading<T>, TlsError> {
        let seen = stamps(&paths);
        let value = Arc::new(load()?);
        Ok(Reloading {
            paths,
            load,
            state: Mutex::new(State { seen, value }),
            failures: AtomicU64::new(0),
        })
    }

    /// What the files hold now, or held last.
    pub fn current(&self) -> Arc<T> {
        // Before they are read: what changes meanwhile is a change for the next time.
        let found = stamps(&self.paths);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.seen != found {
            state.seen = found;
            match (self.load)() {
                Ok(value) => {
                    state.value = Arc::new(value);
                    tracing::info!(files = ?self.paths, "read changed TLS files");
                }
                Err(error) => {
                    self.failures.fetch_add(1, Relaxed);
                    tracing::warn!(
                        %error,
                        files = ?self.paths,
                        "cannot use changed TLS files; what they held before stays in use"
                    );
                }
            }
        }
        state.value.clone()
    }

    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Option<Stamp>> {
    let stamp = |path: &PathBuf| {
        let found = metadata(path).ok()?;
        Some(Stamp {
            file: (found.dev(), found.ino()),
            length: found.len(),
            changed: [
                found.mtime(),
                found.mtime_nsec(),
                found.ctime(),
                found.ctime_nsec(),
            ],
        })
    };
    paths.iter().map(stamp).collect()
}
