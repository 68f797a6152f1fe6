//! How fast a machine's storage is when nothing is wrong with it, beside its syncs.

use super::defects::Operation;
use crate::rng::Rng;
use crate::scenario::cluster::Disk;
use crate::time;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The latencies of a disk: what the operations of disk and store take.
#[derive(Clone, Debug)]
pub struct Speed {
    read_ms: RangeInclusive<u64>,
    write_ms: RangeInclusive<u64>,
    jitter_ms: u64,
    throughput: Option<u64>,
    rng: Rng,
    /// Until when the disk is busy with what was read and written before.
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

    /// How long bytes take through the disk, after those before them.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn speed(disk: &str) -> Speed {
        let text = format!("[cluster]\ndisk = {{ {disk} }}\n[[workload]]\nkind = \"kv\"");
        let scenario = Scenario::parse("test.toml", &text).expect("it is right");
        Speed::new(&scenario.resolve(1).cluster().disk, Rng::of(1, "speed"))
    }

    #[test]
    fn reads_and_writes_have_latencies_of_their_own() {
        let mut speed = speed("read_ms = 7, write_ms = 3");
        let mut time_of = |operation| speed.time_of(operation, 100).as_millis();
        assert_eq!(time_of(Operation::Read), 7);
        assert_eq!(time_of(Operation::Write), 3);
        assert_eq!(time_of(Operation::Grow), 3);
        assert_eq!(time_of(Operation::Sync), 0);
    }

    #[test]
    fn what_comes_together_waits_its_turn() {
        // Outside a run time stands still: everything comes together.
        let mut speed = speed("throughput = 1_000");
        let mut time_of = |bytes| speed.time_of(Operation::Write, bytes).as_millis();
        assert_eq!([time_of(500), time_of(0), time_of(250)], [500, 0, 750]);
    }

    #[test]
    fn jitter_is_another_time_each_time() {
        let mut speed = speed("jitter_ms = 10");
        let times = (0..50).map(|_| speed.time_of(Operation::Sync, 0).as_millis());
        let times: std::collections::BTreeSet<u128> = times.collect();
        assert!(times.len() > 5 && times.iter().all(|time| *time <= 10));
    }
}
