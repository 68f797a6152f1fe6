//! A disk that can be lied about, torn and lost: the simulated side of `detcd_storage::disk`.
//!
//! A [`DiskImage`] belongs to a machine and survives its processes. A process works through a
//! [`SimDisk`], which is good for one life: killed nodes still run their `Drop` code, so a crash
//! first turns every handle of that life into an error and only then decides what was lost.

mod bytes;
pub mod defects;
mod inode;
pub mod speed;
#[cfg(test)]
mod tests;
pub mod trap;

use self::bytes::SparseBytes;
use crate::rng::Rng;
use crate::start::Identity;
use crate::time;
use crate::trace;
use ::bytes::Bytes;
use defects::{DiskDefects, MisdirectedWrite, Operation, Part};
use detcd_storage::disk::{Disk, DiskFile};
use inode::{Inode, Kept};
use std::collections::BTreeMap;
use std::io::{self, Error, ErrorKind};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use trap::{Point, Side};

/// The log's note of how far it was synced.
const NOTE: &str = "synced";
/// Stray writes land on other pages.
const PAGE: u64 = 4096;

/// What a crash does to bytes that were written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing is lost: the process died, the machine did not.
    KeepAll,
    /// Everything unsynced is gone: the power failed.
    LoseUnsynced,
    /// A prefix of what was unsynced got to the disk, the last write of it perhaps in part.
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
pub struct DiskImage {
    state: Arc<Mutex<State>>,
    defects: DiskDefects,
}

struct State {
    /// The life of the process that may use the disk; handles of earlier lives are dead.
    life: u64,
    /// Whose disk it is, written whole and durable.
    identity: Option<Identity>,
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

impl DiskImage {
    pub fn new(rng: Rng, latency: Latency) -> DiskImage {
        DiskImage {
            defects: DiskDefects::new(rng.fork("medium")),
            state: Arc::new(Mutex::new(State {
                life: 0,
                identity: None,
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

    /// What is wrong with the storage; the machine's store has the same defects.
    pub fn defects(&self) -> &DiskDefects {
        &self.defects
    }

    /// The disk as the machine's next process sees it.
    pub fn mount(&self) -> SimDisk {
        self.defects.restart();
        let mut state = self.lock();
        state.life += 1;
        state.inodes.values_mut().for_each(Inode::reopen);
        SimDisk {
            disk_image: self.clone(),
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
        if lost.changes > 0 {
            trace::mark("disk.lost-unsynced");
        }
        if lost.torn > 0 {
            trace::mark("disk.torn");
        }
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

    /// Whose disk it is, if a process has said so.
    pub fn identity(&self) -> Option<Identity> {
        self.lock().identity.clone()
    }

    pub fn save_identity(&self, identity: Identity) {
        self.lock().identity = Some(identity);
    }

    /// Whether there is a log.
    pub fn has_files(&self) -> bool {
        !self.lock().names.is_empty()
    }

    /// The dead machine's disk is replaced by an empty one.
    pub fn wipe(&self) {
        let mut state = self.lock();
        state.life += 1;
        state.identity = None;
        state.names.clear();
        state.durable_names.clear();
        state.unsynced_names.clear();
        state.inodes.clear();
    }

    /// A copy of all files, as they are read now.
    pub fn backup(&self) -> Backup {
        let state = self.lock();
        let files = state.names.iter();
        let files = files.map(|(name, inode)| (name.clone(), state.inodes[inode].content()));
        Backup {
            identity: state.identity.clone(),
            files: files.collect(),
        }
    }

    /// The dead machine's files are replaced by those of a copy.
    pub fn restore(&self, backup: &Backup) {
        self.wipe();
        let mut state = self.lock();
        state.identity = backup.identity.clone();
        for (name, content) in &backup.files {
            let inode = state.inode_next;
            state.inode_next += 1;
            state.inodes.insert(inode, Inode::of(content.clone()));
            state.names.insert(name.clone(), inode);
        }
        state.durable_names = state.names.clone();
    }

    /// Flips so many bits of what the part's files hold, on the disk and in every cache. Gives
    /// how many: there may be nothing yet.
    pub fn rot(&self, part: Part, bits: u64) -> u64 {
        let mut state = self.lock();
        let State { names, inodes, .. } = &mut *state;
        let files = names.iter().filter(|(name, _)| part_of(name) == part);
        // What is spare is not read before it is written again, and the note stands elsewhere.
        let files = files.filter(|(name, _)| !name.starts_with("spare") && !is_note(name));
        let files: Vec<u64> = files.map(|(_, inode)| *inode).collect();
        let mut rng = self.defects.draws();
        let mut flipped = 0;
        for _ in 0..bits {
            if let Some(file) = files.get(rng.index(files.len().max(1))) {
                let inode = inodes.get_mut(file).expect("a name leads to an inode");
                flipped += u64::from(inode.flip_bit(&mut rng));
            }
        }
        flipped
    }

    /// The dead machine's log loses the note of how far it was synced, and its end. False if it has
    /// no end yet.
    pub fn lose_note(&self) -> bool {
        let mut state = self.lock();
        let State { names, inodes, .. } = &mut *state;
        let segments = names.iter().rev();
        let mut segments = segments.filter(|(name, _)| name.starts_with("log-"));
        let blanked = segments.any(|(_, inode)| {
            let inode = inodes.get_mut(inode).expect("a name leads to an inode");
            inode.blank_end(PAGE, PAGE)
        });
        if blanked {
            state.names.remove(NOTE);
            state.durable_names = state.names.clone();
            state.unsynced_names.clear();
        }
        blanked
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }
}

/// All files of a disk at one moment.
#[derive(Clone, Debug, Default)]
pub struct Backup {
    identity: Option<Identity>,
    files: BTreeMap<String, SparseBytes>,
}

/// What a file is about. The log's note of what was synced belongs to the log.
fn part_of(name: &str) -> Part {
    match name.starts_with("vote") {
        true => Part::Vote,
        false => Part::Log,
    }
}

fn is_note(name: &str) -> bool {
    name.starts_with(NOTE)
}

impl State {
    fn lose(&mut self, loss: Loss) -> Lost {
        let mut lost = Lost::default();
        if loss != Loss::KeepAll {
            lost.names = self.lose_names(loss);
        }
        for inode in self.inodes.values_mut() {
            let part = match loss {
                Loss::KeepAll => Kept::All,
                Loss::LoseUnsynced => Kept::First {
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

    /// Gives how many changes of names were lost.
    fn lose_names(&mut self, loss: Loss) -> usize {
        let changes = std::mem::take(&mut self.unsynced_names);
        let kept = match loss {
            Loss::Torn => self.rng.range(0..=changes.len() as u64) as usize,
            Loss::LoseUnsynced | Loss::KeepAll => 0,
        };
        changes[..kept]
            .iter()
            .for_each(|change| change.apply(&mut self.durable_names));
        self.names = self.durable_names.clone();
        changes.len() - kept
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
    disk_image: DiskImage,
    life: u64,
}

impl SimDisk {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk_image.lock();
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
        let part = part_of(name);
        self.disk_image.defects.wait(part).await;
        if create && !self.state()?.names.contains_key(name) {
            self.disk_image.defects.check_room(part, Operation::Grow)?;
        }
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
            part,
            is_note: is_note(name),
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
        self.disk_image.defects.wait(Part::Log).await;
        time::sleep(self.sync_time()?).await;
        self.disk_image.defects.check(Part::Log, Operation::Sync)?;
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
    part: Part,
    is_note: bool,
}

impl SimFile {
    fn defects(&self) -> &DiskDefects {
        &self.disk.disk_image.defects
    }

    async fn pass(&self, side: Side, point: Point) {
        if !self.is_note {
            self.defects().traps().pass(point, side).await;
        }
    }
}

impl DiskFile for SimFile {
    async fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state()?.inode(self.inode).len())
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.defects().wait(self.part).await;
        self.defects().work(Operation::Read, len).await;
        self.defects().check(self.part, Operation::Read)?;
        let bytes = self.disk.state()?.inode(self.inode).read_at(offset, len);
        let given = self.defects().shorten(self.part, bytes.len());
        Ok(bytes.slice(..given))
    }

    async fn write_at(&self, offset: u64, data: Bytes) -> io::Result<()> {
        let point = match self.part {
            Part::Vote => Point::VoteSave,
            Part::Log | Part::State => Point::Append,
        };
        self.pass(Side::Before, point).await;
        self.defects().wait(self.part).await;
        let end = offset + data.len() as u64;
        let grows = self.disk.state()?.inode(self.inode).len() < end;
        let operation = match grows {
            true => Operation::Grow,
            false => Operation::Write,
        };
        self.defects().work(operation, data.len()).await;
        self.defects().check(self.part, operation)?;
        // The note of what was synced stands elsewhere: with it lost as well, nobody could tell.
        let misdirected = match self.is_note {
            true => None,
            false => self.defects().misdirect(self.part),
        };
        let hash = trace::hash(&data);
        trace::event(
            "disk.write",
            format_args!("f{} {offset}+{} {hash:x}", self.inode, data.len()),
        );
        {
            let mut state = self.disk.state()?;
            let inode = state.inode(self.inode);
            match misdirected {
                None => inode.write_at(offset, data),
                Some(_) if inode.len() < end => inode.resize(end),
                Some(MisdirectedWrite::Nowhere) => {}
                Some(MisdirectedWrite::Elsewhere(draw)) => {
                    let pages = (inode.len() - data.len() as u64) / PAGE + 1;
                    inode.write_at(draw % pages * PAGE, data);
                }
            }
        }
        if self.part != Part::Vote {
            self.pass(Side::After, point).await;
        }
        Ok(())
    }

    async fn sync_data(&self) -> io::Result<()> {
        if self.part == Part::Log {
            self.pass(Side::Before, Point::Sync).await;
        }
        let covered = self.disk.state()?.inode(self.inode).unsynced();
        self.defects().wait(self.part).await;
        self.defects().work(Operation::Sync, 0).await;
        time::sleep(self.disk.sync_time()?).await;
        if let Err(error) = self.defects().check(self.part, Operation::Sync) {
            // As Linux does: what could not be written is not tried again, and no later sync
            // tells of it.
            self.disk.state()?.inode(self.inode).give_up(covered);
            return Err(error);
        }
        {
            let mut state = self.disk.state()?;
            let written = state.inode(self.inode).sync_through(covered);
            trace::event("disk.sync", format_args!("f{} {written}", self.inode));
        }
        let point = match self.part {
            Part::Vote => Point::VoteSave,
            Part::Log | Part::State => Point::Sync,
        };
        self.pass(Side::After, point).await;
        Ok(())
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state()?;
        state.inode(self.inode).resize(len);
        trace::event("disk.truncate", format_args!("f{} {len}", self.inode));
        Ok(())
    }

    async fn allocate(&self, len: u64) -> io::Result<()> {
        self.defects().wait(self.part).await;
        if self.disk.state()?.inode(self.inode).len() < len {
            self.defects().check_room(self.part, Operation::Grow)?;
        }
        let mut state = self.disk.state()?;
        let inode = state.inode(self.inode);
        if inode.len() < len {
            inode.resize(len);
        }
        trace::event("disk.allocate", format_args!("f{} {len}", self.inode));
        Ok(())
    }
}
