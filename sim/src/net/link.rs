//! How each direction of each link behaves at the moment.

use super::Host;
use crate::record;
use crate::rng::Rng;
use crate::time;
use crate::trace;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What a packet weighs besides its body.
const PACKET_OVERHEAD: u64 = 64;
/// A sender's queue before a narrow link holds no more than so much time's worth of bytes; what
/// comes on top is lost, as in any router.
const QUEUE_MAX: Duration = Duration::from_secs(3);

/// The settings of all links of a network.
#[derive(Clone, Debug)]
pub struct Links {
    base: LinkSettings,
    /// Faults, each under a name of its own, so that they can overlap and end one by one.
    faults: BTreeMap<u64, Active>,
    fault_next: u64,
    /// The ground of each fault's own draws, so that no fault shifts what others draw.
    rng: Rng,
}

/// How packets fare on a link without faults.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    pub latency_ms: RangeInclusive<u64>,
    /// Probability that a packet is lost.
    pub loss: f64,
    /// Probability that an idempotent request is doubled.
    pub duplicate: f64,
}

/// A fault of some directions of links.
#[derive(Clone, Debug)]
pub struct LinkFault {
    /// The mark that tells of its first effect.
    pub mark: &'static str,
    pub paths: Paths,
    pub effect: Effect,
}

/// Directions of links.
#[derive(Clone, Debug)]
pub enum Paths {
    /// From the first to the second of each pair.
    Pairs(Vec<(Host, Host)>),
    /// Between these members and all clients there are or will be.
    Clients {
        members: Vec<Host>,
        /// From clients to members, and back.
        requests: bool,
        answers: bool,
    },
}

impl Paths {
    pub fn contain(&self, from: Host, to: Host) -> bool {
        match self {
            Paths::Pairs(pairs) => pairs.contains(&(from, to)),
            Paths::Clients {
                members,
                requests,
                answers,
            } => {
                (*requests && from.is_client() && members.contains(&to))
                    || (*answers && to.is_client() && members.contains(&from))
            }
        }
    }
}

/// As `1>2 2>1`, clients under one name.
impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |from: &dyn fmt::Display, to: &dyn fmt::Display| format!("{from}>{to}");
        let all: Vec<String> = match self {
            Paths::Pairs(pairs) => pairs.iter().map(|(a, b)| path(&a.0, &b.0)).collect(),
            Paths::Clients {
                members,
                requests,
                answers,
            } => members
                .iter()
                .flat_map(|member| {
                    let request = requests.then(|| path(&"clients", &member.0));
                    let answer = answers.then(|| path(&member.0, &"clients"));
                    request.into_iter().chain(answer)
                })
                .collect(),
        };
        f.write_str(&all.join(" "))
    }
}

#[derive(Clone, Debug)]
pub enum Effect {
    /// Nothing gets through.
    Cut,
    /// Packets are lost with this probability, besides the base's.
    Loss(f64),
    /// Some packets take so much longer.
    Delay {
        probability: f64,
        by_ms: RangeInclusive<u64>,
    },
    /// Idempotent requests arrive twice.
    Duplicate(f64),
    /// A bit of some messages is flipped under way.
    Corrupt(f64),
    /// So many bytes a second get through each direction; the rest waits its turn.
    Bandwidth(u64),
    /// Nothing gets through, and all of it arrives once the fault is over.
    Clog,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Effect::Cut => "cut",
            Effect::Loss(_) => "loses",
            Effect::Delay { .. } => "late",
            Effect::Duplicate(_) => "doubles",
            Effect::Corrupt(_) => "damages",
            Effect::Bandwidth(_) => "narrow",
            Effect::Clog => "clogged",
        })
    }
}

/// A fault at work.
#[derive(Clone, Debug)]
struct Active {
    fault: LinkFault,
    rng: Rng,
    is_recorded: bool,
    /// Until when each direction is busy with what was sent before.
    busy: BTreeMap<(Host, Host), Duration>,
}

/// Names a fault for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultId(u64);

pub(crate) enum Verdict {
    /// `corrupt` is a draw that says which bit is flipped.
    Arrives {
        after: Duration,
        corrupt: Option<u64>,
    },
    Lost(&'static str),
}

impl Links {
    /// `rng` is for faults alone.
    pub fn new(base: LinkSettings, rng: Rng) -> Links {
        Links {
            base,
            faults: BTreeMap::new(),
            fault_next: 0,
            rng,
        }
    }

    pub fn begin(&mut self, fault: LinkFault) -> FaultId {
        let id = self.fault_next;
        self.fault_next += 1;
        record!(
            "link.begins",
            link = id,
            name = fault.mark,
            effect = %fault.effect,
            paths = %fault.paths,
        );
        let active = Active {
            rng: self.rng.fork(&format!("{}/{id}", fault.mark)),
            fault,
            is_recorded: false,
            busy: BTreeMap::new(),
        };
        self.faults.insert(id, active);
        FaultId(id)
    }

    pub fn end(&mut self, FaultId(id): FaultId) {
        if self.faults.remove(&id).is_some() {
            record!("link.ends", link = id);
        }
    }

    /// Ends every fault, and the base's own loss and doubling.
    pub fn heal(&mut self) {
        for id in std::mem::take(&mut self.faults).into_keys() {
            record!("link.ends", link = id);
        }
        self.base.loss = 0.0;
        self.base.duplicate = 0.0;
    }

    /// Whether nothing gets through. Asked when something would have: the fault has told on it.
    pub fn is_cut(&mut self, from: Host, to: Host) -> bool {
        self.find(from, to, |effect| matches!(effect, Effect::Cut))
    }

    /// As [`Links::is_cut`], for faults that only hold back.
    pub(crate) fn is_clogged(&mut self, from: Host, to: Host) -> bool {
        self.find(from, to, |effect| matches!(effect, Effect::Clog))
    }

    fn find(&mut self, from: Host, to: Host, wanted: impl Fn(&Effect) -> bool) -> bool {
        let mut faults = self.faults.values_mut();
        let found = faults
            .find(|active| wanted(&active.fault.effect) && active.fault.paths.contain(from, to));
        found.map(Active::record_first_effect).is_some()
    }

    /// Whether an idempotent request that is sent now arrives twice.
    pub(crate) fn draws_duplicate(&mut self, from: Host, to: Host, rng: &mut Rng) -> bool {
        let mut doubled = rng.chance(self.base.duplicate);
        for active in self.faults.values_mut() {
            if let Effect::Duplicate(probability) = active.fault.effect
                && active.fault.paths.contain(from, to)
                && active.rng.chance(probability)
            {
                active.record_first_effect();
                doubled = true;
            }
        }
        doubled
    }

    /// What becomes of a packet with a body of `bytes` that is sent now. Draws the same number of
    /// times from `rng` whatever the faults.
    pub(crate) fn send(&mut self, from: Host, to: Host, bytes: usize, rng: &mut Rng) -> Verdict {
        let range = &self.base.latency_ms;
        // Finer than the milliseconds of the settings, so that packets do not arrive in step.
        let micros = rng.range(range.start() * 1000..=range.end() * 1000);
        let mut after = Duration::from_micros(micros);
        let mut corrupt = None;
        let mut lost = rng.chance(self.base.loss).then_some("bad luck");
        for active in self.faults.values_mut() {
            if !active.fault.paths.contain(from, to) {
                continue;
            }
            let draws = active.rng.next_u64();
            let path = (from, to);
            let happened = match active.fault.effect.clone() {
                Effect::Cut => {
                    lost = Some("cut");
                    true
                }
                Effect::Loss(probability) => {
                    let fired = active.rng.chance(probability);
                    lost = lost.or(fired.then_some("bad luck"));
                    fired
                }
                Effect::Delay { probability, by_ms } => {
                    let more = active.rng.range(by_ms.start() * 1000..=by_ms.end() * 1000);
                    let fired = active.rng.chance(probability);
                    if fired {
                        after += Duration::from_micros(more);
                    }
                    fired
                }
                Effect::Corrupt(probability) => {
                    let fired = bytes > 0 && active.rng.chance(probability);
                    corrupt = corrupt.or(fired.then_some(draws));
                    fired
                }
                Effect::Bandwidth(bytes_per_s) => match active.queue(path, bytes, bytes_per_s) {
                    Some(wait) => {
                        after += wait;
                        true
                    }
                    None => {
                        lost = Some("the link's queue is full");
                        true
                    }
                },
                // Of a clog one sees only on arrival whether it is there; doubling was drawn.
                Effect::Clog | Effect::Duplicate(_) => false,
            };
            if happened {
                active.record_first_effect();
            }
        }
        match lost {
            Some(why) => Verdict::Lost(why),
            None => Verdict::Arrives { after, corrupt },
        }
    }
}

impl Active {
    /// Marks the first time that the fault did anything.
    fn record_first_effect(&mut self) {
        if !self.is_recorded {
            self.is_recorded = true;
            trace::mark(self.fault.mark);
        }
    }

    /// How long a packet takes through a narrow link, after what was sent before it. `None` if
    /// there is no room for it.
    fn queue(&mut self, path: (Host, Host), bytes: usize, bytes_per_s: u64) -> Option<Duration> {
        let now = time::now();
        let free = self.busy.get(&path).copied().unwrap_or_default().max(now);
        if free - now > QUEUE_MAX {
            return None;
        }
        let weight = bytes as u64 + PACKET_OVERHEAD;
        let done = free + Duration::from_micros(weight * 1_000_000 / bytes_per_s);
        self.busy.insert(path, done);
        Some(done - now)
    }
}
