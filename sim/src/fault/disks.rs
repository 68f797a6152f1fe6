//! Faults of what members have stored. Those that make operations of the disk go wrong are lines of
//! one table: of which part, and how.

use super::{FaultKind, Length, Ongoing, World};
use crate::disk::Loss;
use crate::disk::defects::{Defect, DiskFault, Operation, Part};
use crate::scenario::choice::{OneOf, choices};
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::{Count, Counts, Ratio};
use crate::trace;

/// For each kind: the mark of its first effect, what is concerned, and what is wrong with it.
macro_rules! disk_faults {
    ($($kind:ident: $mark:literal, |$fault:ident| $part:expr => $defect:expr;)*) => {$(
        impl FaultKind for $kind {
            fn begin(&self, world: &mut dyn World) -> Ongoing {
                let $fault = self;
                begin_defects(world, &$fault.target, $mark, $part, $defect)
            }
        }
    )*};
}

disk_faults! {
    SlowDisk: "fault.slow-disk", |fault| fault.part => Defect::Slow(fault.by_ms.range());
    Stall: "fault.stall", |fault| fault.part => Defect::Stall;
    IoError: "fault.io-error", |fault| fault.part
        => fails(fault.operation.operation(), fault.probability.value());
    DiskFull: "fault.disk-full", |fault| Stored::All => Defect::Full;
    ShortRead: "fault.short-read", |fault| fault.part
        => Defect::ShortReads(fault.probability.value());
    LostWrite: "fault.lost-write", |fault| fault.part
        => Defect::LostWrites(fault.probability.value());
    StrayWrite: "fault.stray-write", |fault| fault.part
        => Defect::StrayWrites(fault.probability.value());
    SnapshotRot: "fault.snapshot-rot", |fault| Stored::State => fails(Operation::Install, 1.0);
}

settings! {
    /// Whatever some members read, write and sync takes longer.
    pub struct SlowDisk {
        /// Whose storage.
        target: Targets,
        /// What is concerned.
        part: Stored = Stored::All,
        /// How much longer, in milliseconds; drawn each time.
        by_ms: Counts [0..=60_000],
    }
}

settings! {
    /// No read, write or sync of some members ends before the fault does.
    pub struct Stall {
        /// Whose storage.
        target: Targets,
        /// What is concerned.
        part: Stored = Stored::All,
    }
}

settings! {
    /// Some operations of some members fail with EIO. A member that meets an error of its log stops at once, acknowledges nothing more, and is started again when the fault is over.
    pub struct IoError {
        /// Whose storage.
        target: Targets,
        /// What is concerned.
        part: Stored = Stored::All,
        /// What fails.
        operation: Failing,
        /// How likely it fails.
        probability: Ratio = 1.0,
    }
}

settings! {
    /// There is no room for new files and longer ones, nor for more of the state. A member that
    /// needs some stops, and is started again when there is room.
    pub struct DiskFull {
        /// Whose disks.
        target: Targets,
    }
}

settings! {
    /// Reads of the raft log give less than was asked for, though there is more.
    pub struct ShortRead {
        /// Whose storage.
        target: Targets,
        /// What is concerned.
        part: Stored = Stored::All,
        /// How likely a read is short.
        probability: Ratio = 0.5,
    }
}

settings! {
    /// Writes to the raft log and the vote are acknowledged, also by their syncs, and never happen.
    /// A member that notices at its next start stays down. Nothing is done to a member that the
    /// others rely on to remember.
    pub struct LostWrite {
        /// Whose storage.
        target: Targets,
        /// What is concerned.
        part: Stored = Stored::All,
        /// How likely a write is lost.
        probability: Ratio = 0.1,
    }
}

settings! {
    /// Writes to the raft log and the vote land on another page of their file. A member that
    /// notices stays down. Nothing is done to a member that the others rely on to remember.
    pub struct StrayWrite {
        /// Whose storage.
        target: Targets,
        /// What is concerned.
        part: Stored = Stored::All,
        /// How likely a write is misdirected.
        probability: Ratio = 0.1,
    }
}

settings! {
    /// A snapshot that some members receive is found rotten when it is put in place. Such a member
    /// stops, is started again when the fault is over, and asks anew.
    pub struct SnapshotRot {
        /// Whose snapshots.
        target: Targets,
    }
}

settings! {
    /// Bits flip in what some members have stored, synced or not. A member that finds it may stop
    /// for good, or refuse to start; it never goes on as if it were right.
    /// Nothing is done to a member without whom no majority would be whole.
    pub struct BitRot {
        /// Whose storage.
        target: Targets,
        /// What rots.
        part: OneOf<Rotting>,
        /// How many bits flip; of the state, how many rows are lost is one.
        bits: Count [1..=1000] = 1,
    }
}

settings! {
    /// Members lose their power, and come back with a log whose end is blank and without the note of how
    /// far it was synced: they cannot know what they have acknowledged, and must not take part.
    /// Nothing is done to a member without whom no majority would be whole.
    pub struct LostNote {
        /// Who loses both.
        target: Targets,
    }
}

settings! {
    /// Members die, lose all that they have stored, and come back as who they were, which they
    /// must not be. Nothing is done to a member that the others rely on to remember.
    pub struct Wipe {
        /// Who loses everything.
        target: Targets,
    }
}

settings! {
    /// What some members have stored is copied when the fault begins. When it ends they die, and
    /// come back with the copy: as who they were, but having forgotten what they promised since.
    /// Nothing is done to a member that the others rely on to remember.
    pub struct OldDisk {
        /// Whose storage.
        target: Targets,
    }
}

choices! {
    /// Operations.
    pub enum Failing {
        /// Reads.
        Read = "read",
        /// Writes.
        Write = "write",
        /// Syncs: what was written since the one before is lost, and counts as written.
        Sync = "sync",
    }
}

choices! {
    /// What is stored.
    pub enum Stored {
        /// Everything.
        All = "all",
        /// The raft log.
        Log = "log",
        /// The vote.
        Vote = "vote",
        /// The applied state.
        State = "state",
    }
}

choices! {
    /// What can rot.
    pub enum Rotting {
        /// The raft log's files.
        Log = "log",
        /// The file of the vote, which has four copies.
        Vote = "vote",
        /// A row of the applied state.
        State = "state",
    }
}

impl Failing {
    fn operation(self) -> Operation {
        match self {
            Failing::Read => Operation::Read,
            Failing::Write => Operation::Write,
            Failing::Sync => Operation::Sync,
        }
    }
}

impl Stored {
    fn part(self) -> Option<Part> {
        match self {
            Stored::All => None,
            Stored::Log => Some(Part::Log),
            Stored::Vote => Some(Part::Vote),
            Stored::State => Some(Part::State),
        }
    }
}

impl FaultKind for BitRot {
    fn length(&self) -> Length {
        Length::Instant
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let part = match self.part.value() {
            Rotting::Log => Part::Log,
            Rotting::Vote => Part::Vote,
            Rotting::State => Part::State,
        };
        for member in world.named(&self.target) {
            if world.may_break(member) && world.rot(member, part, self.bits.value()) > 0 {
                trace::mark("fault.bit-rot");
            }
        }
        Ongoing::Nothing
    }
}

impl FaultKind for LostNote {
    fn length(&self) -> Length {
        Length::RestartAfter
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let mut robbed = Vec::new();
        for member in world.named(&self.target) {
            if world.may_break(member) {
                world.crash(member, Loss::LoseUnsynced);
                if world.lose_note(member) {
                    trace::mark("fault.lost-note");
                }
                robbed.push(member);
            }
        }
        Ongoing::Down(robbed)
    }
}

impl FaultKind for Wipe {
    fn length(&self) -> Length {
        Length::RestartAfter
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let mut wiped = Vec::new();
        for member in world.named(&self.target) {
            // It is refused when it comes back: the others must do without it, and that is all.
            if world.may_break(member) {
                world.crash(member, Loss::LoseUnsynced);
                world.wipe(member);
                trace::mark("fault.wipe");
                wiped.push(member);
            }
        }
        Ongoing::Down(wiped)
    }
}

impl FaultKind for OldDisk {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let members = world.named(&self.target).into_iter();
        Ongoing::Copied(
            members
                .map(|member| (member, world.backup(member)))
                .collect(),
        )
    }
}

fn fails(operation: Operation, probability: f64) -> Defect {
    Defect::Fails {
        operation,
        probability,
    }
}

/// The storage of these members has a defect from now on, whose first effect leaves `mark`.
fn begin_defects(
    world: &mut dyn World,
    target: &Targets,
    mark: &'static str,
    what: Stored,
    defect: Defect,
) -> Ongoing {
    let part = what.part();
    let mut begun = Vec::new();
    for member in world.named(target) {
        if !defect.lies() || world.may_forget(member) {
            let defect = defect.clone();
            let fault = DiskFault { mark, part, defect };
            begun.push((member, world.begin_defect(member, fault)));
        }
    }
    Ongoing::Defects(begun)
}
