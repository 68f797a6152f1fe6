//! Faults: what goes wrong, when, for how long and to whom. A file for each kind.

pub mod bandwidth;
pub mod bridge;
pub mod client_cut;
pub mod clock;
pub mod clog;
pub mod corrupt;
pub mod crash;
pub mod delay;
pub mod duplicate;
pub mod half_open;
pub mod jitter;
pub mod loss;
pub mod members;
pub mod partition;
pub mod reorder;
pub mod reset;
pub mod ring;
pub mod rolling;
pub mod slow_link;
pub mod timing;

pub use partition::Direction;
pub use timing::{Fault, Length};

use crate::disk::Loss as DiskLoss;
use crate::net::link::{Effect, FaultId, LinkFault, Paths};
use crate::net::{Host, Net};
use crate::scenario::settings::{Settings, kinds};
use crate::scenario::target::Targets;
use members::Order;
use std::time::Duration;

kinds! {
    /// What goes wrong. To add a kind, write a file with its settings and a line here.
    pub enum Kind: FaultKind {
        "partition" => Partition(partition::Partition),
        "ring" => Ring(ring::Ring),
        "bridge" => Bridge(bridge::Bridge),
        "loss" => Loss(loss::Loss),
        "delay" => Delay(delay::Delay),
        "jitter" => Jitter(jitter::Jitter),
        "reorder" => Reorder(reorder::Reorder),
        "duplicate" => Duplicate(duplicate::Duplicate),
        "corrupt" => Corrupt(corrupt::Corrupt),
        "bandwidth" => Bandwidth(bandwidth::Bandwidth),
        "slow-link" => SlowLink(slow_link::SlowLink),
        "clog" => Clog(clog::Clog),
        "client-cut" => ClientCut(client_cut::ClientCut),
        "reset" => Reset(reset::Reset),
        "half-open" => HalfOpen(half_open::HalfOpen),
        "crash" => Crash(crash::Crash),
        "clock" => Clock(clock::Clock),
        "add-member" => AddMember(members::Add),
        "remove-member" => RemoveMember(members::Remove),
        "replace-member" => ReplaceMember(members::Replace),
        "update-address" => UpdateAddress(members::UpdateAddress),
        "move-leader" => MoveLeader(members::MoveLeader),
        "rolling-restart" => RollingRestart(rolling::RollingRestart),
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
    fn net(&self) -> &Net;
    fn host(&self, member: usize) -> Host;
    /// Kills the member's process. False if it is dead already.
    fn crash(&mut self, member: usize, loss: DiskLoss) -> bool;
    /// Starts a dead member's process.
    fn start(&mut self, member: usize);
    /// Changes a member's clock: its rate in parts per million, a jump of its monotonic clock, a
    /// step of its wall clock.
    fn change_clock(&mut self, member: usize, change: ClockChange);
    /// Has an operator change the membership.
    fn operate(&mut self, order: Order);
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
    Both(Box<(Ongoing, Ongoing)>),
}

impl Ongoing {
    fn and(self, other: Ongoing) -> Ongoing {
        Ongoing::Both(Box::new((self, other)))
    }
}

/// Undoes a fault whose time is over.
pub fn end(ongoing: Ongoing, world: &mut dyn World) {
    match ongoing {
        Ongoing::Nothing => {}
        Ongoing::Both(both) => {
            end(both.0, world);
            end(both.1, world);
        }
        Ongoing::Links(faults) => world.net().change_links(|links| {
            faults.into_iter().for_each(|fault| links.end(fault));
        }),
        Ongoing::Rolling { down, .. } => {
            down.into_iter().for_each(|member| world.start(member));
        }
        Ongoing::Down(members) => members.into_iter().for_each(|member| world.start(member)),
        Ongoing::Clocks(members) => {
            members
                .into_iter()
                .for_each(|member| world.change_clock(member, ClockChange::Heal));
        }
    }
}

/// Begins a fault of these paths, whose first effect leaves `mark`.
fn begin_on_links(
    world: &dyn World,
    mark: &'static str,
    paths: Vec<(Host, Host)>,
    effect: Effect,
) -> Ongoing {
    let fault = LinkFault {
        mark,
        paths: Paths::Pairs(paths),
        effect,
    };
    Ongoing::Links(vec![world.net().change_links(|links| links.begin(fault))])
}

/// Every direction of every link between these members and the others.
pub(crate) fn paths_of(world: &dyn World, target: &Targets) -> Vec<(Host, Host)> {
    let named = target.members(world.members(), world.leader());
    let pairs = (0..world.members()).flat_map(|a| (0..world.members()).map(move |b| (a, b)));
    pairs
        .filter(|(a, b)| a != b && (named.contains(a) || named.contains(b)))
        .map(|(a, b)| (world.host(a), world.host(b)))
        .collect()
}

/// The links between these members and the others, in the directions that are wanted.
fn directed_paths_of(
    world: &dyn World,
    target: &Targets,
    direction: Direction,
) -> Vec<(Host, Host)> {
    let named = target.members(world.members(), world.leader());
    let hosts: Vec<Host> = named.iter().map(|member| world.host(*member)).collect();
    let mut paths = paths_of(world, target);
    paths.retain(|(from, to)| match direction {
        Direction::Both => true,
        Direction::In => hosts.contains(to),
        Direction::Out => hosts.contains(from),
    });
    paths
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
        pub orders: Vec<Order>,
    }

    impl Paper {
        pub fn new(leader: Option<usize>) -> Paper {
            let manners = Manners {
                latency_ms: 1..=1,
                loss: 0.0,
                duplicate: 0.0,
            };
            let links = Links::new(manners, Rng::of(1, "net/faults"));
            let net = Net::new(Rng::of(1, "net"), links, |_| {});
            Paper {
                net,
                leader,
                down: Vec::new(),
                clocks: Vec::new(),
                orders: Vec::new(),
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
        fn operate(&mut self, order: Order) {
            self.orders.push(order);
        }
    }
}
