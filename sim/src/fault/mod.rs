//! Faults: what goes wrong, when, for how long and to whom. A file for each subject.

pub mod clocks;
pub mod disks;
pub mod links;
pub mod load;
pub mod members;
pub mod mixed_versions;
pub mod processes;
pub mod reconfigure;
pub mod rejoin;
pub mod rolling;
pub mod snapshot_storm;
pub mod timing;

pub use links::Direction;
pub(crate) use links::paths_of;
pub use timing::{Fault, Length};

use crate::disk::Loss as DiskLoss;
use crate::disk::defects::{DiskFault, DiskFaultId, Part};
use crate::disk::trap::{Point, Side};
use crate::net::link::FaultId;
use crate::net::{Host, Net};
use crate::run_facts::RefusalReasons;
use crate::scenario::settings::{Settings, kinds};
use crate::scenario::target::Targets;
use load::{ExtraLoad, ExtraLoadId};
use members::Order;
use reconfigure::Changes;
use std::fmt;
use std::time::Duration;

kinds! {
    /// What goes wrong. To add a kind, declare its settings in the file of its subject, and
    /// give it a line there and here.
    pub enum Kind: FaultKind {
        "partition" => Partition(links::Partition),
        "ring" => Ring(links::Ring),
        "bridge" => Bridge(links::Bridge),
        "loss" => Loss(links::Loss),
        "delay" => Delay(links::Delay),
        "jitter" => Jitter(links::Jitter),
        "reorder" => Reorder(links::Reorder),
        "duplicate" => Duplicate(links::Duplicate),
        "corrupt" => Corrupt(links::Corrupt),
        "bandwidth" => Bandwidth(links::Bandwidth),
        "slow-link" => SlowLink(links::SlowLink),
        "clog" => Clog(links::Clog),
        "client-cut" => ClientCut(links::ClientCut),
        "reset" => Reset(links::Reset),
        "half-open" => HalfOpen(links::HalfOpen),
        "crash" => Crash(processes::Crash),
        "crash-loop" => CrashLoop(processes::CrashLoop),
        "crash-point" => CrashPoint(processes::CrashPoint),
        "stop" => Stop(processes::Stop),
        "pause" => Pause(processes::Pause),
        "wipe" => Wipe(disks::Wipe),
        "old-disk" => OldDisk(disks::OldDisk),
        "slow-disk" => SlowDisk(disks::SlowDisk),
        "stall" => Stall(disks::Stall),
        "io-error" => IoError(disks::IoError),
        "disk-full" => DiskFull(disks::DiskFull),
        "short-read" => ShortRead(disks::ShortRead),
        "bit-rot" => BitRot(disks::BitRot),
        "snapshot-rot" => SnapshotRot(disks::SnapshotRot),
        "lost-note" => LostNote(disks::LostNote),
        "lost-write" => LostWrite(disks::LostWrite),
        "stray-write" => StrayWrite(disks::StrayWrite),
        "clock" => Clock(clocks::Clock),
        "freeze" => Freeze(clocks::Freeze),
        "strobe" => Strobe(clocks::Strobe),
        "add-member" => AddMember(members::Add),
        "remove-member" => RemoveMember(members::Remove),
        "replace-member" => ReplaceMember(members::Replace),
        "rejoin-member" => RejoinMember(rejoin::Rejoin),
        "update-address" => UpdateAddress(members::UpdateAddress),
        "move-leader" => MoveLeader(members::MoveLeader),
        "rolling-restart" => RollingRestart(rolling::RollingRestart),
        "mixed-versions" => MixedVersions(mixed_versions::MixedVersions),
        "reconfigure" => Reconfigure(reconfigure::Reconfigure),
        "burst" => Burst(load::Burst),
        "compaction-storm" => CompactionStorm(load::CompactionStorm),
        "snapshot-storm" => SnapshotStorm(snapshot_storm::SnapshotStorm),
    }
}

/// What every kind of fault has besides its settings.
pub trait FaultKind: Settings {
    /// What the file calls the time that it lasts.
    fn length(&self) -> Length {
        Length::For
    }

    /// How fast it lets a clock run, and whether it lets it jump; `None` if it leaves clocks alone.
    fn clock(&self) -> Option<(f64, bool)> {
        None
    }

    /// The largest request that it lets some members take, if it changes that.
    fn request_bytes(&self) -> Option<u64> {
        None
    }

    /// Makes what it gives servers to refuse requests for part of all that there is.
    fn add_refusal_reasons(&self, _: &mut RefusalReasons) {}

    /// Lets it happen; gives what [`end`] must undo.
    fn begin(&self, world: &mut dyn World) -> Ongoing;

    /// What it does beyond its begin, for as long as it lasts; gives the pause until it wants to
    /// go on again. Asked for right after the begin.
    fn go_on(&self, _: &mut Ongoing, _: &mut dyn World) -> Option<Duration> {
        None
    }
}

/// What faults act on.
pub trait World {
    fn members(&self) -> usize;
    /// The member that leads now, as far as anybody knows.
    fn leader(&self) -> Option<usize>;
    /// Whom a fault's target names now.
    fn named(&self, target: &Targets) -> Vec<usize> {
        target.members(self.members(), self.leader())
    }
    fn net(&self) -> &Net;
    fn host(&self, member: usize) -> Host;
    /// Kills the member's process. False if it is dead already.
    fn crash(&mut self, member: usize, loss: DiskLoss) -> bool;
    /// Starts a dead member's process.
    fn start(&mut self, member: usize);
    /// Asks the member's process to stop in good order. False if it does not run.
    fn stop(&mut self, member: usize) -> bool;
    /// Lets the member's process stand still. False if it does not run.
    fn pause(&mut self, member: usize) -> bool;
    fn resume(&mut self, member: usize);
    /// Kills the member's process when it comes to a point.
    fn arm(&mut self, member: usize, trap: Trap);
    fn disarm(&mut self, member: usize);
    /// Whether the cluster can go on if the member's storage is lost for good.
    fn may_break(&self, member: usize) -> bool;
    /// Whether it can if the member comes back and has forgotten some of what it promised.
    fn may_forget(&self, member: usize) -> bool;
    /// Empties the storage of a member that is dead.
    fn wipe(&mut self, member: usize);
    /// Copies what a member has stored.
    fn backup(&mut self, member: usize) -> Backup;
    /// Gives a member that is dead the storage that was copied.
    fn restore(&mut self, member: usize, backup: &Backup);
    /// The member's storage has a defect from now on.
    fn begin_defect(&mut self, member: usize, fault: DiskFault) -> DiskFaultId;
    fn end_defect(&mut self, member: usize, defect: DiskFaultId);
    /// Takes the end of the log of a member that is dead, and the note of how far it was synced.
    /// False if there is none yet.
    fn lose_note(&mut self, member: usize) -> bool;
    /// Flips bits of what the member has stored. Gives how many: there may be nothing yet.
    fn rot(&mut self, member: usize, part: Part, bits: u64) -> u64;
    /// Changes a member's clock: its rate in parts per million, a jump of its monotonic clock, a
    /// step of its wall clock.
    fn change_clock(&mut self, member: usize, change: ClockChange);
    /// Has an operator change the membership.
    fn operate(&mut self, order: Order);
    /// Whether the member was removed, and has left.
    fn has_departed(&self, member: usize) -> bool;
    /// What is otherwise than the cluster's settings when the member starts again.
    fn configure(&mut self, member: usize, changes: Changes);
    /// Whether the member is of a later version when it starts again.
    fn upgrade(&mut self, member: usize, later: bool);
    /// Puts more clients to work.
    fn start_load(&mut self, extra_load: ExtraLoad) -> ExtraLoadId;
    /// Lets them end.
    fn stop_load(&mut self, extra_load: ExtraLoadId);
}

/// See [`World::arm`].
#[derive(Clone, Debug)]
pub struct Trap {
    pub point: Point,
    pub side: Side,
    /// How often the point is passed unharmed.
    pub skip: u64,
    pub loss: DiskLoss,
    /// How long the process is dead.
    pub down: Duration,
}

/// What a member has stored at some moment.
#[derive(Clone)]
pub struct Backup {
    pub files: crate::disk::Backup,
    pub state: crate::store::Tables,
}

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backup")
    }
}

/// See [`World::change_clock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockChange {
    Rate {
        ppm: u64,
    },
    Jump(Duration),
    StepWall {
        milliseconds: i64,
    },
    /// The true rate and no wall offset.
    Heal,
}

/// What must be undone when a fault ends.
#[derive(Debug)]
pub enum Ongoing {
    /// It is over as it happens.
    Nothing,
    Links(Vec<FaultId>),
    Down(Vec<usize>),
    Clocks(Vec<usize>),
    /// A rolling restart: who is next, where it ends, and who is down now.
    Rolling {
        next: usize,
        last: usize,
        down: Option<usize>,
    },
    /// Asked to stop.
    Stopped(Vec<usize>),
    Paused(Vec<usize>),
    Defects(Vec<(usize, DiskFaultId)>),
    Armed(Vec<usize>),
    Copied(Vec<(usize, Backup)>),
    Loop {
        members: Vec<usize>,
        dead: bool,
    },
    Strobe {
        members: Vec<usize>,
        ahead: bool,
    },
    Reconfigured {
        members: Vec<usize>,
        /// Alarms may be left behind.
        alarms: bool,
    },
    /// Of a later version.
    Upgraded(Vec<usize>),
    /// They are removed, and to be added again once they have left.
    Rejoining(Vec<usize>),
    ExtraLoad(ExtraLoadId),
    SnapshotStorm(snapshot_storm::Storm),
}

/// Undoes a fault whose time is over.
pub fn end(ongoing: Ongoing, world: &mut dyn World) {
    match ongoing {
        Ongoing::Nothing | Ongoing::Rejoining(_) => {}
        Ongoing::Reconfigured { members, alarms } => reconfigure::end(members, alarms, world),
        Ongoing::Upgraded(members) => mixed_versions::change(&members, false, world),
        Ongoing::ExtraLoad(extra_load) => world.stop_load(extra_load),
        Ongoing::SnapshotStorm(storm) => storm.end(world),
        Ongoing::Links(faults) => world.net().change_links(|links| {
            faults.into_iter().for_each(|fault| links.end(fault));
        }),
        Ongoing::Rolling { down, .. } => {
            down.into_iter().for_each(|member| world.start(member));
        }
        Ongoing::Down(members) | Ongoing::Loop { members, .. } => {
            members.into_iter().for_each(|member| world.start(member));
        }
        Ongoing::Clocks(members) | Ongoing::Strobe { members, .. } => {
            members
                .into_iter()
                .for_each(|member| world.change_clock(member, ClockChange::Heal));
        }
        Ongoing::Stopped(members) => {
            for member in members {
                // Whoever has not stopped by now is killed, as by any supervisor.
                world.crash(member, DiskLoss::KeepAll);
                world.start(member);
            }
        }
        Ongoing::Paused(members) => members.into_iter().for_each(|member| world.resume(member)),
        Ongoing::Defects(defects) => {
            for (member, defect) in defects {
                world.end_defect(member, defect);
            }
        }
        Ongoing::Armed(members) => members.into_iter().for_each(|member| world.disarm(member)),
        Ongoing::Copied(copies) => {
            for (member, backup) in copies {
                if !world.may_forget(member) {
                    continue;
                }
                world.crash(member, DiskLoss::LoseUnsynced);
                world.restore(member, &backup);
                crate::trace::mark("fault.old-disk");
                world.start(member);
            }
        }
    }
}

/// A world that only writes down what is done to it.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::net::link::{LinkSettings, Links};
    use crate::rng::Rng;

    pub struct RecordingWorld {
        pub net: Net,
        pub leader: Option<usize>,
        pub down: Vec<usize>,
        pub clocks: Vec<(usize, ClockChange)>,
        pub orders: Vec<Order>,
        /// Whom the cluster cannot go on without.
        pub spared: Option<usize>,
        /// Whatever else was done, in words.
        pub acts: Vec<String>,
    }

    impl RecordingWorld {
        fn did(&mut self, act: String) -> bool {
            self.acts.push(act);
            true
        }

        pub fn new(leader: Option<usize>) -> RecordingWorld {
            let link_settings = LinkSettings {
                latency_ms: 1..=1,
                loss: 0.0,
                duplicate: 0.0,
            };
            let links = Links::new(link_settings, Rng::of(1, "net/faults"));
            let net = Net::new(Rng::of(1, "net"), links, |_| {});
            RecordingWorld {
                net,
                leader,
                down: Vec::new(),
                clocks: Vec::new(),
                orders: Vec::new(),
                spared: None,
                acts: Vec::new(),
            }
        }

        /// The pairs of members (from, to) whose way is cut.
        pub fn cuts(&self) -> Vec<(usize, usize)> {
            let pairs = (0..3).flat_map(|a| (0..3).map(move |b| (a, b)));
            let cut = |a, b| {
                self.net
                    .change_links(|links| links.is_cut(self.host(a), self.host(b)))
            };
            pairs.filter(|(a, b)| cut(*a, *b)).collect()
        }
    }

    impl World for RecordingWorld {
        fn members(&self) -> usize {
            3
        }
        fn leader(&self) -> Option<usize> {
            self.leader
        }
        fn net(&self) -> &Net {
            &self.net
        }
        fn host(&self, member: usize) -> Host {
            Host(member as u32)
        }
        fn crash(&mut self, member: usize, _: DiskLoss) -> bool {
            let alive = !self.down.contains(&member);
            self.down.push(member);
            alive
        }
        fn start(&mut self, member: usize) {
            self.down.retain(|down| *down != member);
        }
        fn change_clock(&mut self, member: usize, change: ClockChange) {
            self.clocks.push((member, change));
        }
        fn operate(&mut self, order: Order) {
            self.orders.push(order);
        }
        fn has_departed(&self, _: usize) -> bool {
            true
        }
        fn configure(&mut self, member: usize, changes: Changes) {
            let back = if changes.is_empty() { " back" } else { "" };
            self.did(format!("configure {member}{back}"));
        }
        fn upgrade(&mut self, member: usize, later: bool) {
            self.did(format!("upgrade {member} {later}"));
        }
        fn start_load(&mut self, _: ExtraLoad) -> ExtraLoadId {
            self.did("press".to_owned());
            ExtraLoadId(0)
        }
        fn stop_load(&mut self, ExtraLoadId(id): ExtraLoadId) {
            self.did(format!("relieve {id}"));
        }
        fn stop(&mut self, member: usize) -> bool {
            self.did(format!("stop {member}"))
        }
        fn pause(&mut self, member: usize) -> bool {
            self.did(format!("pause {member}"))
        }
        fn resume(&mut self, member: usize) {
            self.did(format!("resume {member}"));
        }
        fn arm(&mut self, member: usize, trap: Trap) {
            self.did(format!("arm {member} {:?} {:?}", trap.side, trap.point));
        }
        fn disarm(&mut self, member: usize) {
            self.did(format!("disarm {member}"));
        }
        fn may_break(&self, member: usize) -> bool {
            self.spared != Some(member)
        }
        fn may_forget(&self, member: usize) -> bool {
            self.spared != Some(member)
        }
        fn wipe(&mut self, member: usize) {
            self.did(format!("wipe {member}"));
        }
        fn backup(&mut self, member: usize) -> Backup {
            self.did(format!("backup {member}"));
            Backup {
                files: crate::disk::Backup::default(),
                state: crate::store::Tables::default(),
            }
        }
        fn restore(&mut self, member: usize, _: &Backup) {
            self.did(format!("restore {member}"));
        }
        fn begin_defect(&mut self, member: usize, fault: DiskFault) -> DiskFaultId {
            self.did(format!("begin {} {member}", fault.mark));
            crate::disk::defects::DiskDefects::new(Rng::of(1, "medium")).begin(fault)
        }
        fn end_defect(&mut self, member: usize, _: DiskFaultId) {
            self.did(format!("end {member}"));
        }
        fn lose_note(&mut self, member: usize) -> bool {
            self.did(format!("lose note {member}"))
        }
        fn rot(&mut self, member: usize, part: Part, bits: u64) -> u64 {
            self.did(format!("rot {member} {part:?}"));
            bits
        }
    }
}
