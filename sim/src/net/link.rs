//! How each direction of each link behaves at the moment.

use super::Host;
use crate::rng::Rng;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The manners of a network.
#[derive(Clone, Debug)]
pub struct Links {
    base: Manners,
    /// Faults, each under a name of its own, so that they can overlap and end one by one.
    faults: BTreeMap<u64, LinkFault>,
    fault_next: u64,
}

/// How packets fare on a link without faults.
#[derive(Clone, Debug)]
pub struct Manners {
    pub latency_ms: RangeInclusive<u64>,
    /// Probability that a packet is lost.
    pub loss: f64,
    /// Probability that an idempotent request is doubled.
    pub duplicate: f64,
}

/// A fault of some directions of links.
#[derive(Clone, Debug)]
pub struct LinkFault {
    pub paths: Vec<(Host, Host)>,
    pub effect: Effect,
}

#[derive(Clone, Debug)]
pub enum Effect {
    /// Nothing gets through.
    Cut,
    /// Packets are lost with this probability, besides the base's.
    Loss(f64),
    /// Packets take so much longer.
    Delay(RangeInclusive<u64>),
}

/// Names a fault for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultId(u64);

pub(crate) enum Verdict {
    Arrives(Duration),
    Lost(&'static str),
}

impl Links {
    pub fn new(base: Manners) -> Links {
        Links {
            base,
            faults: BTreeMap::new(),
            fault_next: 0,
        }
    }

    pub fn begin(&mut self, fault: LinkFault) -> FaultId {
        let id = self.fault_next;
        self.fault_next += 1;
        self.faults.insert(id, fault);
        FaultId(id)
    }

    pub fn end(&mut self, FaultId(id): FaultId) {
        self.faults.remove(&id);
    }

    /// Ends every fault, and the base's own loss and doubling.
    pub fn heal(&mut self) {
        self.faults.clear();
        self.base.loss = 0.0;
        self.base.duplicate = 0.0;
    }

    pub fn is_cut(&self, from: Host, to: Host) -> bool {
        self.effects(from, to)
            .any(|effect| matches!(effect, Effect::Cut))
    }

    pub(crate) fn draws_duplicate(&self, rng: &mut Rng) -> bool {
        rng.chance(self.base.duplicate)
    }

    /// What becomes of a packet that is sent now. Draws the same number of times whatever the
    /// faults, except for delays.
    pub(crate) fn send(&self, from: Host, to: Host, rng: &mut Rng) -> Verdict {
        let range = &self.base.latency_ms;
        // Finer than the milliseconds of the settings, so that packets do not arrive in step.
        let mut micros = rng.range(range.start() * 1000..=range.end() * 1000);
        let mut through = 1.0 - self.base.loss;
        let mut cut = false;
        for effect in self.effects(from, to) {
            match effect {
                Effect::Cut => cut = true,
                Effect::Loss(loss) => through *= 1.0 - loss,
                Effect::Delay(by) => micros += rng.range(by.start() * 1000..=by.end() * 1000),
            }
        }
        let lost = rng.chance(1.0 - through);
        if cut {
            Verdict::Lost("cut")
        } else if lost {
            Verdict::Lost("bad luck")
        } else {
            Verdict::Arrives(Duration::from_micros(micros))
        }
    }

    fn effects(&self, from: Host, to: Host) -> impl Iterator<Item = &Effect> {
        let faults = self.faults.values();
        faults
            .filter(move |fault| fault.paths.contains(&(from, to)))
            .map(|fault| &fault.effect)
    }
}
