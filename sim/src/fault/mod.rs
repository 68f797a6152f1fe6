//! Faults: what goes wrong, when, for how long and to whom. A file for each kind.

pub mod clock;
pub mod crash;
pub mod delay;
pub mod loss;
pub mod partition;

use crate::disk::Loss as DiskLoss;
use crate::net::link::{Effect, FaultId, LinkFault};
use crate::net::{Host, Net};
use crate::rng::Rng;
use crate::scenario::reader::{Problem, Reader};
use crate::scenario::target::Target;
use crate::scenario::time_line;
use crate::scenario::units::{Span, Time, parse_time};
use std::fmt;
use std::time::Duration;

/// A fault of a scenario, or (with everything drawn) of a plan.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Milliseconds from the start of the run.
    pub at: Span,
    /// How long it lasts.
    pub lasts: Span,
    pub recurs: Option<Recurs>,
    pub kind: Kind,
}

/// A fault that happens again and again; a plan has each time apart.
#[derive(Clone, Copy, Debug)]
pub struct Recurs {
    pub every: Span,
    pub until: u64,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Partition(partition::Partition),
    Loss(loss::Loss),
    Delay(delay::Delay),
    Crash(crash::Crash),
    Clock(clock::Clock),
}

#[derive(Clone, Copy)]
enum Name {
    Partition,
    Loss,
    Delay,
    Crash,
    Clock,
}

const NAMES: [(&str, Name); 5] = [
    ("partition", Name::Partition),
    ("loss", Name::Loss),
    ("delay", Name::Delay),
    ("crash", Name::Crash),
    ("clock", Name::Clock),
];

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

impl Fault {
    pub fn read(reader: &Reader<'_>) -> Result<Fault, Problem> {
        reader.required_text("kind")?;
        let name = reader.choice("kind", &NAMES, Name::Loss)?;
        let (kind, lasts_key) = match name {
            Name::Partition => (Kind::Partition(partition::Partition::read(reader)?), "for"),
            Name::Loss => (Kind::Loss(loss::Loss::read(reader)?), "for"),
            Name::Delay => (Kind::Delay(delay::Delay::read(reader)?), "for"),
            Name::Crash => (Kind::Crash(crash::Crash::read(reader)?), "restart_after"),
            Name::Clock => (Kind::Clock(clock::Clock::read(reader)?), "for"),
        };
        let fault = read_times(reader, kind, lasts_key)?;
        reader.done()?;
        Ok(fault)
    }

    /// The fault's occurrences, each with everything drawn.
    pub fn resolve(&self, members: usize, rng: &mut Rng) -> Vec<Fault> {
        let mut at = self.at.draw(rng).value();
        let mut occurrences = Vec::new();
        loop {
            let mut kind = self.kind.draw(members, rng);
            if let Kind::Crash(crash) = &mut kind {
                crash.settle_loss(rng);
            }
            let lasts = self.lasts.draw(rng);
            occurrences.push(Fault {
                at: Span::one(at),
                lasts,
                recurs: None,
                kind,
            });
            let Some(recurs) = self.recurs else { break };
            at += recurs.every.draw(rng).value().max(1);
            if at > recurs.until {
                break;
            }
        }
        occurrences
    }

    /// How fast it lets a clock run, and whether it lets it jump; `None` if it leaves clocks alone.
    pub fn clock(&self) -> Option<(f64, bool)> {
        match &self.kind {
            Kind::Clock(clock) => Some(clock.effect()),
            Kind::Partition(_) | Kind::Loss(_) | Kind::Delay(_) | Kind::Crash(_) => None,
        }
    }

    /// Lets it happen; gives what [`end`] must undo.
    pub fn begin(&self, world: &mut dyn World) -> Ongoing {
        match &self.kind {
            Kind::Partition(partition) => partition.begin(world),
            Kind::Loss(loss) => loss.begin(world),
            Kind::Delay(delay) => delay.begin(world),
            Kind::Crash(crash) => crash.begin(world),
            Kind::Clock(clock) => clock.begin(world),
        }
    }
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
fn paths_of(world: &dyn World, target: &Target) -> Vec<(Host, Host)> {
    let named = target.members(world.members(), world.leader());
    let pairs = (0..world.members()).flat_map(|a| (0..world.members()).map(move |b| (a, b)));
    pairs
        .filter(|(a, b)| a != b && (named.contains(a) || named.contains(b)))
        .map(|(a, b)| (world.host(a), world.host(b)))
        .collect()
}

/// `at = "5s"`, `at = ["5s", "9s"]` (some moment between) or `at = "5s..40s"` (from, to); the
/// last with `every` recurs in that time.
fn read_times(reader: &Reader<'_>, kind: Kind, lasts_key: &'static str) -> Result<Fault, Problem> {
    let from_to = match reader.text("at") {
        Ok(Some(text)) if text.contains("..") => {
            let ends = text
                .split_once("..")
                .and_then(|(from, to)| Some((parse_time(from.trim())?, parse_time(to.trim())?)));
            match ends {
                Some((from, to)) if from < to => Some((from, to)),
                _ => return Err(reader.problem_at("at", "\"5s..40s\" is from when to when")),
            }
        }
        _ => None,
    };
    let has_length = reader.has(lasts_key);
    let lasts = reader.times(lasts_key, Span::one(0))?;
    let recurs = reader.has("every");
    let every = reader.times("every", Span::one(0))?;
    if recurs && every.low == 0 {
        return Err(reader.problem_at("every", "a fault that recurs needs a pause"));
    }
    let missing = |what: String| Err(reader.problem(what));
    match (from_to, recurs, has_length) {
        (Some((from, until)), true, true) => {
            let recurs = Some(Recurs { every, until });
            Ok(Fault {
                at: Span::one(from),
                lasts,
                recurs,
                kind,
            })
        }
        (Some((from, to)), false, false) => Ok(Fault {
            at: Span::one(from),
            lasts: Span::one(to - from),
            recurs: None,
            kind,
        }),
        (Some(_), false, true) => missing(format!(
            "with at = \"from..to\" either `every` or no `{lasts_key}`"
        )),
        (None, true, _) => missing("`every` needs at = \"from..to\"".to_owned()),
        (_, _, false) => missing(format!("this fault needs a `{lasts_key}`")),
        (None, false, true) => {
            if !reader.has("at") {
                return missing("a fault needs an `at`".to_owned());
            }
            Ok(Fault {
                at: reader.times("at", Span::one(0))?,
                lasts,
                recurs: None,
                kind,
            })
        }
    }
}

impl Kind {
    fn draw(&self, members: usize, rng: &mut Rng) -> Kind {
        match self {
            Kind::Partition(partition) => Kind::Partition(partition.draw(members, rng)),
            Kind::Loss(loss) => Kind::Loss(loss.draw(members, rng)),
            Kind::Delay(delay) => Kind::Delay(delay.draw(members, rng)),
            Kind::Crash(crash) => Kind::Crash(crash.draw(members, rng)),
            Kind::Clock(clock) => Kind::Clock(clock.draw(members, rng)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lasts_key = if matches!(self.kind, Kind::Crash(_)) {
            "restart_after"
        } else {
            "for"
        };
        match &self.kind {
            Kind::Partition(partition) => write!(f, "{partition}")?,
            Kind::Loss(loss) => write!(f, "{loss}")?,
            Kind::Delay(delay) => write!(f, "{delay}")?,
            Kind::Crash(crash) => write!(f, "{crash}")?,
            Kind::Clock(clock) => write!(f, "{clock}")?,
        }
        match self.recurs {
            None => time_line(f, "at", self.at)?,
            Some(Recurs { every, until }) => {
                writeln!(f, "at = \"{}..{}\"", Time(self.at.low), Time(until))?;
                time_line(f, "every", every)?;
            }
        }
        time_line(f, lasts_key, self.lasts)
    }
}

/// A world that only writes down what is done to it.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::net::link::{Links, Manners};

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
