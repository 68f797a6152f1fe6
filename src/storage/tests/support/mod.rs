//! A disk in memory that forgets what was not synced, tears what was being written, and fails on
//! demand. Every call waits for one poll before it acts, so that a test can stop between any two.

use bytes::Bytes;
use detcd_storage::disk::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::task::Poll;

/// Writes reach the disk or get lost in units of this, apart from a torn one.
const SECTOR: usize = 512;

#[derive(Clone, Default)]
pub struct CrashDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    /// Name operations since the last sync of the folder, as what they left.
    unsynced_names: Vec<BTreeMap<String, usize>>,
    files: Vec<Content>,
    /// Changes that still succeed, and how the next one fails.
    failure: Option<(u32, ErrorKind)>,
    failed: bool,
    /// How often a file was written or synced after a change had failed.
    after_failure: u32,
    /// No space for new files or for longer ones.
    full: bool,
}

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<UnsyncedWrite>,
}

#[derive(Clone)]
enum UnsyncedWrite {
    Write { offset: usize, data: Bytes },
    Length(usize),
}

pub struct CrashFile {
    state: Arc<Mutex<State>>,
    number: usize,
}

/// The draws of a crash.
pub struct Draws(u64);

impl Draws {
    pub fn new(seed: u64) -> Draws {
        Draws(seed | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        // xorshift64*: a crash needs variety, not quality.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

impl CrashDisk {
    /// What a disk holds after the power failed now. Handles of the old one go on with the past.
    pub fn crashed(&self, draws: &mut Draws) -> CrashDisk {
        let state = self.state.lock().unwrap();
        let kept = draws.below(state.unsynced_names.len() + 1);
        let names = match kept {
            0 => state.synced_names.clone(),
            kept => state.unsynced_names[kept - 1].clone(),
        };
        let files = state
            .files
            .iter()
            .map(|content| content.crashed(draws))
            .collect();
        let synced_names = names.clone();
        let state = State {
            names,
            synced_names,
            files,
            ..State::default()
        };
        CrashDisk {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// What a disk holds after the process was killed now: everything, and what was not synced is
    /// still only in the system's memory. Handles of the old one go on with the past.
    pub fn killed(&self) -> CrashDisk {
        let state = self.state.lock().unwrap();
        let state = State {
            names: state.names.clone(),
            synced_names: state.synced_names.clone(),
            unsynced_names: state.unsynced_names.clone(),
            files: state.files.clone(),
            ..State::default()
        };
        CrashDisk {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Lets some more changes succeed, and then none.
    pub fn fail_after(&self, changes: u32, kind: ErrorKind) {
        self.state.lock().unwrap().failure = Some((changes, kind));
    }

    pub fn set_full(&self, full: bool) {
        self.state.lock().unwrap().full = full;
    }

    /// Whether a file was written or synced after a change had failed.
    pub fn used_after_failure(&self) -> bool {
        self.state.lock().unwrap().after_failure > 0
    }

    pub fn has_failed(&self) -> bool {
        self.state.lock().unwrap().failed
    }
}

impl Content {
    fn crashed(&self, draws: &mut Draws) -> Content {
        let mut bytes = self.synced.clone();
        let all = draws.below(3) == 0;
        for change in &self.unsynced {
            match change {
                UnsyncedWrite::Length(length) if all || draws.below(2) == 0 => {
                    bytes.resize(*length, 0)
                }
                UnsyncedWrite::Length(_) => {}
                UnsyncedWrite::Write { offset, data } => {
                    let torn = draws.below(data.len().max(1));
                    let end = offset + data.len();
                    let mut at = *offset;
                    while at < end {
                        let mut stop = ((at / SECTOR + 1) * SECTOR).min(end);
                        let next = stop;
                        if !all && draws.below(2) == 0 {
                            let tear = at <= offset + torn && offset + torn < stop;
                            stop = if tear { offset + torn } else { at };
                        }
                        if bytes.len() < stop {
                            bytes.resize(stop, 0);
                        }
                        bytes[at..stop].copy_from_slice(&data[at - offset..stop - offset]);
                        at = next;
                    }
                }
            }
        }
        Content {
            now: bytes.clone(),
            synced: bytes,
            unsynced: Vec::new(),
        }
    }
}

impl State {
    fn change_file(&mut self) -> io::Result<()> {
        self.after_failure += u32::from(self.failed);
        self.change()
    }

    fn change(&mut self) -> io::Result<()> {
        match &mut self.failure {
            Some((0, kind)) => {
                self.failed = true;
                Err(io::Error::from(*kind))
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn rename(&mut self, change: impl FnOnce(&mut BTreeMap<String, usize>)) {
        change(&mut self.names);
        self.unsynced_names.push(self.names.clone());
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| io::Error::from(ErrorKind::NotFound))
    }
}

/// Waits until it is polled again.
async fn step() {
    let mut stepped = false;
    std::future::poll_fn(|context| match std::mem::replace(&mut stepped, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

impl Disk for CrashDisk {
    type File = CrashFile;

    async fn open(&self, name: &str, create: bool) -> io::Result<CrashFile> {
        step().await;
        let mut state = self.state.lock().unwrap();
        let number = match state.find(name) {
            Ok(number) => number,
            Err(_) if create => {
                state.change()?;
                if state.full {
                    return Err(io::Error::from(ErrorKind::StorageFull));
                }
                let number = state.files.len();
                state.files.push(Content::default());
                state.rename(|names| _ = names.insert(name.to_string(), number));
                number
            }
            Err(error) => return Err(error),
        };
        Ok(CrashFile {
            state: self.state.clone(),
            number,
        })
    }

    async fn list(&self) -> io::Result<Vec<String>> {
        step().await;
        Ok(self.state.lock().unwrap().names.keys().cloned().collect())
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        step().await;
        let mut state = self.state.lock().unwrap();
        let number = state.find(from)?;
        state.change()?;
        state.rename(|names| {
            names.remove(from);
            names.insert(to.to_string(), number);
        });
        Ok(())
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        step().await;
        let mut state = self.state.lock().unwrap();
        state.find(name)?;
        state.change()?;
        state.rename(|names| _ = names.remove(name));
        Ok(())
    }

    async fn sync_dir(&self) -> io::Result<()> {
        step().await;
        let mut state = self.state.lock().unwrap();
        state.change()?;
        state.synced_names = state.names.clone();
        state.unsynced_names.clear();
        Ok(())
    }
}

impl CrashFile {
    async fn change(&self, change: UnsyncedWrite) -> io::Result<()> {
        step().await;
        let mut state = self.state.lock().unwrap();
        state.change_file()?;
        let content = &mut state.files[self.number];
        match &change {
            UnsyncedWrite::Length(length) => content.now.resize(*length, 0),
            UnsyncedWrite::Write { offset, data } => {
                let end = offset + data.len();
                if content.now.len() < end {
                    content.now.resize(end, 0);
                }
                content.now[*offset..end].copy_from_slice(data);
            }
        }
        content.unsynced.push(change);
        Ok(())
    }
}

impl DiskFile for CrashFile {
    async fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().unwrap().files[self.number].now.len() as u64)
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        step().await;
        let state = self.state.lock().unwrap();
        let now = &state.files[self.number].now;
        let start = (offset as usize).min(now.len());
        Ok(Bytes::copy_from_slice(
            &now[start..start.saturating_add(len).min(now.len())],
        ))
    }

    async fn write_at(&self, offset: u64, data: Bytes) -> io::Result<()> {
        self.change(UnsyncedWrite::Write {
            offset: offset as usize,
            data,
        })
        .await
    }

    async fn sync_data(&self) -> io::Result<()> {
        step().await;
        let mut state = self.state.lock().unwrap();
        state.change_file()?;
        let content = &mut state.files[self.number];
        content.synced = content.now.clone();
        content.unsynced.clear();
        Ok(())
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        self.change(UnsyncedWrite::Length(len as usize)).await
    }

    async fn allocate(&self, len: u64) -> io::Result<()> {
        let now = DiskFile::len(self).await?;
        if self.state.lock().unwrap().full && now < len {
            return Err(io::Error::from(ErrorKind::StorageFull));
        }
        let longer = (len as usize).max(now as usize);
        self.change(UnsyncedWrite::Length(longer)).await
    }
}
