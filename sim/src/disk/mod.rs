//! A disk that can be lied about, torn and lost: the simulated side of `detcd_storage::disk`.
//!
//! A [`Platter`] belongs to a machine and survives its processes. A process works through a
//! [`SimDisk`], which is good for one life: killed nodes still run their `Drop` code, so a crash
//! first turns every handle of that life into an error and only then decides what was lost.

mod bytes;
mod inode;
#[cfg(test)]
mod tests;

use crate::rng::Rng;
use crate::time;
use crate::trace;
use ::bytes::Bytes;
use detcd_storage::disk::{Disk, DiskFile};
use inode::{Inode, Part};
use std::collections::BTreeMap;
use std::io::{self, Error, ErrorKind};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What a crash does to bytes that were written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing is lost: the process died, the machine did not.
    KeepAll,
    /// Everything unsynced is gone: the power failed.
    LoseUnsynced,
    /// A prefix of what was unsynced got to the platter, the last write of it perhaps in part.
    Torn,
}

impl Loss {
    pub const ALL: [(&'static str, Loss); 3] = [
        ("keep-all", Loss::KeepAll),
        ("lose-unsynced", Loss::LoseUnsynced),
        ("torn", Loss::Torn),
    ];
}

/// How long the disk takes.
#[derive(Clone, Debug)]
pub struct Latency {
    /// One sync, in milliseconds.
    pub sync_ms: RangeInclusive<u64>,
}

impl Latency {
    pub const NONE: Latency = Latency { sync_ms: 0..=0 };
}

/// The durable side of a simulated disk.
#[derive(Clone)]
pub struct Platter {
    state: Arc<Mutex<State>>,
}

struct State {
    /// The life of the process that may use the disk; handles of earlier lives are dead.
    life: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// Changes of names since the folder was synced.
    unsynced_names: Vec<NameChange>,
    inodes: BTreeMap<u64, Inode>,
    inode_next: u64,
    latency: Latency,
    rng: Rng,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Create(name, inode) => drop(names.insert(name.clone(), *inode)),
            NameChange::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            NameChange::Remove(name) => drop(names.remove(name)),
        }
    }
}

/// What a crash took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Writes and cuts that left no trace.
    pub changes: usize,
    /// Writes of which only the beginning is left.
    pub torn: usize,
    /// Creations, renames and removals undone.
    pub names: usize,
}

impl Platter {
    pub fn new(rng: Rng, latency: Latency) -> Platter {
        Platter {
            state: Arc::new(Mutex::new(State {
                life: 0,
                names: BTreeMap::new(),
                durable_names: BTreeMap::new(),
                unsynced_names: Vec::new(),
                inodes: BTreeMap::new(),
                inode_next: 0,
                latency,
                rng,
            })),
        }
    }

    /// The disk as the machine's next process sees it.
    pub fn mount(&self) -> SimDisk {
        let mut state = self.lock();
        state.life += 1;
        SimDisk {
            platter: self.clone(),
            life: state.life,
        }
    }

    /// The process is dead: its handles fail from now on, and what it had not synced is lost as
    /// told. Must be called in the same step as the kill.
    pub fn crash(&self, loss: Loss) -> Lost {
        let mut state = self.lock();
        state.life += 1;
        let lost = state.lose(loss);
        state.forget_nameless();
        drop(state);
        trace::event("disk.crash", format_args!("{loss:?} {lost:?}"));
        lost
    }

    /// The file of this name and the number of its last change.
    pub fn place(&self, name: &str) -> Option<(u64, u64)> {
        let mut state = self.lock();
        let file = *state.names.get(name)?;
        Some((file, state.inode(file).unsynced()))
    }

    /// How many changes of the file were synced, and how many there were.
    pub fn synced(&self, file: u64) -> (u64, u64) {
        let state = self.lock();
        let inode = state.inodes.get(&file);
        inode.map_or((0, 0), |inode| (inode.synced(), inode.unsynced()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the platter panics")
    }
}

impl State {
    fn lose(&mut self, loss: Loss) -> Lost {
        let mut lost = Lost::default();
        let changes = std::mem::take(&mut self.unsynced_names);
        let kept = match loss {
            Loss::KeepAll => changes.len(),
            Loss::LoseUnsynced => 0,
            Loss::Torn => self.rng.range(0..=changes.len() as u64) as usize,
        };
        lost.names = changes.len() - kept;
        changes[..kept]
            .iter()
            .for_each(|change| change.apply(&mut self.durable_names));
        self.names = self.durable_names.clone();
        for inode in self.inodes.values_mut() {
            let part = match loss {
                Loss::KeepAll => Part::All,
                Loss::LoseUnsynced => Part::First {
                    changes: 0,
                    bytes: 0,
                },
                Loss::Torn => inode.draw_part(&mut self.rng),
            };
            let (changes, torn) = inode.crash(part);
            lost.changes += changes;
            lost.torn += torn;
        }
        lost
    }

    /// Frees what no name leads to after a crash (nothing is open then).
    fn forget_nameless(&mut self) {
        let named: Vec<u64> = self.names.values().copied().collect();
        self.inodes.retain(|inode, _| named.contains(inode));
    }

    fn inode(&mut self, inode: u64) -> &mut Inode {
        self.inodes
            .get_mut(&inode)
            .expect("an open file has an inode")
    }
}

/// The disk of one life of a node.
#[derive(Clone)]
pub struct SimDisk {
    platter: Platter,
    life: u64,
}

impl SimDisk {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.platter.lock();
        if state.life == self.life {
            Ok(state)
        } else {
            Err(Error::other("the process that opened this disk is dead"))
        }
    }

    fn sync_time(&self) -> io::Result<Duration> {
        let mut state = self.state()?;
        let range = state.latency.sync_ms.clone();
        Ok(Duration::from_millis(state.rng.range(range)))
    }
}

fn missing(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("no file {name}"))
}

impl Disk for SimDisk {
    type File = SimFile;

    async fn open(&self, name: &str, create: bool) -> io::Result<SimFile> {
        let mut state = self.state()?;
        let inode = match state.names.get(name) {
            Some(inode) => *inode,
            None if create => {
                let inode = state.inode_next;
                state.inode_next += 1;
                state.inodes.insert(inode, Inode::default());
                state.names.insert(name.to_owned(), inode);
                state
                    .unsynced_names
                    .push(NameChange::Create(name.to_owned(), inode));
                trace::event("disk.create", format_args!("{name}"));
                inode
            }
            None => return Err(missing(name)),
        };
        Ok(SimFile {
            disk: self.clone(),
            inode,
        })
    }

    async fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state()?.names.keys().cloned().collect())
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state()?;
        if !state.names.contains_key(from) {
            return Err(missing(from));
        }
        let change = NameChange::Rename(from.to_owned(), to.to_owned());
        change.apply(&mut state.names);
        state.unsynced_names.push(change);
        trace::event("disk.rename", format_args!("{from} {to}"));
        Ok(())
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state()?;
        if state.names.remove(name).is_none() {
            return Err(missing(name));
        }
        state
            .unsynced_names
            .push(NameChange::Remove(name.to_owned()));
        trace::event("disk.remove", format_args!("{name}"));
        Ok(())
    }

    async fn sync_dir(&self) -> io::Result<()> {
        // Only what was done before the sync began is durable when it ends.
        let covered = self.state()?.unsynced_names.len();
        time::sleep(self.sync_time()?).await;
        let mut state = self.state()?;
        let changes: Vec<NameChange> = state.unsynced_names.drain(..covered).collect();
        changes
            .iter()
            .for_each(|change| change.apply(&mut state.durable_names));
        trace::event("disk.sync_dir", format_args!("{covered}"));
        Ok(())
    }
}

/// An open file of one life of a node.
pub struct SimFile {
    disk: SimDisk,
    inode: u64,
}

impl DiskFile for SimFile {
    async fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state()?.inode(self.inode).len())
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        Ok(self.disk.state()?.inode(self.inode).read_at(offset, len))
    }

    async fn write_at(&self, offset: u64, data: Bytes) -> io::Result<()> {
        let mut state = self.disk.state()?;
        let hash = trace::hash(&data);
        trace::event(
            "disk.write",
            format_args!("f{} {offset}+{} {hash:x}", self.inode, data.len()),
        );
        state.inode(self.inode).write_at(offset, data);
        Ok(())
    }

    async fn sync_data(&self) -> io::Result<()> {
        let covered = self.disk.state()?.inode(self.inode).unsynced();
        time::sleep(self.disk.sync_time()?).await;
        let mut state = self.disk.state()?;
        let written = state.inode(self.inode).sync_through(covered);
        trace::event("disk.sync", format_args!("f{} {written}", self.inode));
        Ok(())
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state()?;
        state.inode(self.inode).resize(len);
        trace::event("disk.truncate", format_args!("f{} {len}", self.inode));
        Ok(())
    }

    async fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state()?;
        let inode = state.inode(self.inode);
        if inode.len() < len {
            inode.resize(len);
        }
        trace::event("disk.allocate", format_args!("f{} {len}", self.inode));
        Ok(())
    }
}
