//! The cluster under test: its size and settings, its network, disks and clocks.

use super::choice::OneOf;
use super::each::EachMember;
use super::reader::{Problem, Reader};
use super::settings::{Draw, Setting as _, settings};
use super::units::{Count, Counts, Ratio, Shift};

settings! {
    /// The cluster under test.
    pub struct Cluster {
        /// How many members it starts with.
        pub members: OneOf<u64> [1..=7] = 3,
        /// The election timeout, in milliseconds.
        pub election_ms: Count [10..=60_000] = 1000,
        /// The time between a leader's heartbeats, in milliseconds.
        pub heartbeat_ms: Count [1..=30_000] = 100,
        /// Entries between two snapshots.
        pub snapshot_entries: Count [1..=10_000_000] = 10_000,
        /// Entries that are kept in the log behind a snapshot, for followers that lag.
        pub catch_up_entries: Count [0..=10_000_000] = 5_000,
        /// The size of a member's store at which it raises the alarm NOSPACE, in bytes; 0 is none.
        pub quota_bytes: Count [0..=1_000_000_000] = 0,
        /// How the network between all machines behaves, faults apart.
        pub network: Network,
        /// How the members' disks behave, faults apart.
        pub disk: Disk,
        /// How the members' clocks go, faults apart, until all is healed.
        pub clock: Clock,
    }
    verify = Cluster::verify;
}

settings! {
    /// How the network between all machines behaves, faults apart.
    pub struct Network {
        /// How long a packet takes, in milliseconds; drawn for each.
        pub latency_ms: Counts [0..=60_000] = (1, 5),
        /// How likely a packet is lost.
        pub loss: Ratio = 0.0,
        /// How likely a packet that may be doubled is.
        pub duplicate: Ratio = 0.0,
        /// How much longer a packet between members takes at most, in milliseconds, each another
        /// time: they overtake each other.
        pub jitter_ms: Count [0..=60_000] = 0,
        /// How likely a packet between members is held back for up to `reorder_by_ms`.
        pub reorder: Ratio = 0.0,
        /// How long packets are held back, in milliseconds; drawn for each.
        pub reorder_by_ms: Counts [0..=60_000] = (1, 100),
        /// How likely a bit of a message between members is flipped.
        pub corrupt: Ratio = 0.0,
        /// How much gets through between two members, each way, in bytes a second.
        pub bandwidth: Option<Count> [100..=1_000_000_000_000],
    }
}

settings! {
    /// How the members' clocks go, faults apart, until all is healed.
    pub struct Clock {
        /// Seconds of the clock per true second.
        pub rate: EachMember<Ratio> [0.01..=100.0] = 1.0,
        /// How far the wall clock is off.
        pub wall: EachMember<Shift> = "0s",
    }
}

settings! {
    /// How the members' disks behave, faults apart.
    pub struct Disk {
        /// How long a sync takes, in milliseconds; drawn for each.
        pub sync_ms: Counts [0..=60_000] = (1, 3),
    }
}

impl Cluster {
    fn verify(&self, reader: &Reader<'_>) -> Result<(), Problem> {
        if self.heartbeat_ms.0.high * 5 > self.election_ms.0.low {
            let message = "an election timeout is at least five times the `heartbeat_ms`";
            return Err(reader.problem_at("election_ms", message));
        }
        Ok(())
    }

    /// The number of members that a plan of this seed has.
    pub fn draw_size(&self, seed: u64) -> usize {
        let part = Draw::new(seed, 0).part("cluster").part("members");
        let size = *self.members.draw(&part).value();
        usize::try_from(size).expect("a cluster is small")
    }

    /// The number of members, in a plan.
    pub fn size(&self) -> usize {
        usize::try_from(*self.members.value()).expect("a cluster is small")
    }
}
