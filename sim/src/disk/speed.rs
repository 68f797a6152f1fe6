//! How fast a machine's storage is when nothing is wrong with it, beside its syncs.

use super::medium::Operation;
use crate::rng::Rng;
use crate::scenario::cluster::Disk;
use crate::time;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The manners of a medium: what the operations of disk and store take.
#[derive(Clone, Debug)]
pub struct Speed {
    read_ms: RangeInclusive<u64>,
    write_ms: RangeInclusive<u64>,
    jitter_ms: u64,
    throughput: Option<u64>,
    rng: Rng,
    /// Until when the medium is busy with what was read and written before.
    busy: Duration,
}

impl Speed {
    /// `rng` is for this alone.
    pub fn new(plan: &Disk, rng: Rng) -> Speed {
        Speed {
            read_ms: plan.read_ms.range(),
            write_ms: plan.write_ms.range(),
            jitter_ms: plan.jitter_ms.value(),
            throughput: plan.throughput.map(|throughput| throughput.value()),
            rng,
            busy: Duration::ZERO,
        }
    }

    /// An operation takes no time.
    pub fn instant(rng: Rng) -> Speed {
        Speed {
            read_ms: 0..=0,
            write_ms: 0..=0,
            jitter_ms: 0,
            throughput: None,
            rng,
            busy: Duration::ZERO,
        }
    }

    /// What an operation on so many bytes takes that begins now, a sync's own time apart.
    pub(super) fn time_of(&mut self, operation: Operation, bytes: usize) -> Duration {
        let latency_ms = match operation {
            Operation::Read => self.read_ms.clone(),
            Operation::Write | Operation::Grow => self.write_ms.clone(),
            Operation::Sync | Operation::Install => 0..=0,
        };
        let mut micros = 0;
        if *latency_ms.end() > 0 {
            let range = latency_ms.start() * 1000..=latency_ms.end() * 1000;
            micros += self.rng.range(range);
        }
        if self.jitter_ms > 0 {
            micros += self.rng.range(0..=self.jitter_ms * 1000);
        }
        self.queue(bytes) + Duration::from_micros(micros)
    }

    /// How long bytes take through the medium, after those before them.
    fn queue(&mut self, bytes: usize) -> Duration {
        let (Some(throughput), true) = (self.throughput, bytes > 0) else {
            return Duration::ZERO;
        };
        let now = time::now();
        let takes = Duration::from_micros(bytes as u64 * 1_000_000 / throughput);
        self.busy = self.busy.max(now) + takes;
        self.busy - now
    }
}
