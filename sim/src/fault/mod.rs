//! Faults: what goes wrong, when, for how long and to whom. A file for each kind.

pub mod clock;
pub mod crash;
pub mod delay;
pub mod loss;
pub mod partition;
pub mod timing;

pub use timing::{Fault, Length};

use crate::disk::Loss as DiskLoss;
use crate::net::link::{Effect, FaultId, LinkFault};
use crate::net::{Host, Net};
use crate::scenario::settings::{Settings, kinds};
use crate::scenario::target::Targets;
use std::time::Duration;

kinds! {
    /// What goes wrong. To add a kind, write a file with its settings and a line here.
    pub enum Kind: FaultKind {
        "partition" => Partition(partition::Partition),
        "loss" => Loss(loss::Loss),
        "delay" => Delay(delay::Delay),
        "crash" => Crash(crash::Crash),
        "clock" => Clock(clock::Clock),
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

    /// Lets it happen; gives what [`end`] must undo.
    fn begin(&self, world: &mut dyn World) -> Ongoing;
}

/// What faults act on.
pub trait World {
    fn members(&self) -> usize;
    /// The member that leads now, as far as anybody knows.
    fn leader(&self) -> Option<usize>;
    fn net(&self) -> &Net;
    fn host(&self, member: usize) -> Host;
    /// Kills the member's process. False if it is dead already.
    fn crash(&mut self, member: usize, loss: DiskLoss) -> bool;
    /// Starts a dead member's process.
    fn start(&mut self, member: usize);
    /// Changes a member's clock: its rate in parts per million, a jump of its monotonic clock, a
    /// step of its wall clock.
    fn change_clock(&mut self, member: usize, change: ClockChange);
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
    Links(Vec<FaultId>),
    Down(Vec<usize>),
    Clocks(Vec<usize>),
}

/// Undoes a fault whose time is over.
pub fn end(ongoing: Ongoing, world: &mut dyn World) {
    match ongoing {
        Ongoing::Links(faults) => world.net().change_links(|links| {
            faults.into_iter().for_each(|fault| links.end(fault));
        }),
        Ongoing::Down(members) => members.into_iter().for_each(|member| world.start(member)),
        Ongoing::Clocks(members) => {
            members
                .into_iter()
                .for_each(|member| world.change_clock(member, ClockChange::Heal));
        }
    }
}

/// Begins a fault of these paths.
fn begin_on_links(world: &dyn World, paths: Vec<(Host, Host)>, effect: Effect) -> Ongoing {
    let fault = LinkFault { paths, effect };
    Ongoing::Links(vec![world.net().change_links(|links| links.begin(fault))])
}

/// Every direction of every link between these members and the others.
fn paths_of(world: &dyn World, target: &Targets) -> Vec<(Host, Host)> {
    let named = target.members(world.members(), world.leader());
    let pairs = (0..world.members()).flat_map(|a| (0..world.members()).map(move |b| (a, b)));
    pairs
        .filter(|(a, b)| a != b && (named.contains(a) || named.contains(b)))
        .map(|(a, b)| (world.host(a), world.host(b)))
        .collect()
}

/// A world that only writes down what is done to it.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::net::link::{Links, Manners};
    use crate::rng::Rng;

    pub struct Paper {
        pub net: Net,
        pub leader: Option<usize>,
        pub down: Vec<usize>,
        pub clocks: Vec<(usize, ClockChange)>,
    }

    impl Paper {
        pub fn new(leader: Option<usize>) -> Paper {
            let links = Links::new(Manners {
                latency_ms: 1..=1,
                loss: 0.0,
                duplicate: 0.0,
            });
            let net = Net::new(Rng::of(1, "net"), links, |_| {});
            Paper {
                net,
                leader,
                down: Vec::new(),
                clocks: Vec::new(),
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

    impl World for Paper {
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
    }
}
