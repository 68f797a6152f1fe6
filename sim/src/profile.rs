//! Where a run's time goes, by sampling: the run says which part of the simulator works, and a
//! thread of the bench looks at it a thousand times a second. Costs two stores a part, so it is
//! always there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};

/// A part of the simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Part {
    /// The members' own code, clients, and the engine that lets them take turns.
    Nodes,
    /// Packets on their way.
    Network,
    /// Disks and stores.
    Storage,
    /// The trace and its hash.
    Trace,
    /// Invariants at every step.
    Steps,
    /// The history, once the run is over.
    History,
}

impl Part {
    pub const ALL: [Part; 6] = [
        Part::Nodes,
        Part::Network,
        Part::Storage,
        Part::Trace,
        Part::Steps,
        Part::History,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Part::Nodes => "members, clients and the engine",
            Part::Network => "network",
            Part::Storage => "disks and stores",
            Part::Trace => "trace",
            Part::Steps => "checks at every step",
            Part::History => "checks of the history",
        }
    }
}

/// The part that works now. One run is one process.
static WORKING: AtomicU8 = AtomicU8::new(Part::Nodes as u8);

/// The part works as long as this lives; then the one before goes on.
#[must_use]
pub struct Working {
    before: u8,
}

pub fn enter(part: Part) -> Working {
    let before = WORKING.load(Ordering::Relaxed);
    WORKING.store(part as u8, Ordering::Relaxed);
    Working { before }
}

impl Drop for Working {
    fn drop(&mut self) {
        WORKING.store(self.before, Ordering::Relaxed);
    }
}

/// The share of each part among the moments at which it was looked at.
#[derive(Debug, Default)]
pub struct Shares {
    seen: BTreeMap<u8, u64>,
}

impl Shares {
    /// Looks which part works now.
    pub fn sample(&mut self) {
        *self
            .seen
            .entry(WORKING.load(Ordering::Relaxed))
            .or_default() += 1;
    }

    pub fn of(&self, part: Part) -> f64 {
        let all = self.seen.values().sum::<u64>().max(1);
        self.seen.get(&(part as u8)).copied().unwrap_or(0) as f64 / all as f64
    }
}
