//! The cluster under test: its size and settings, its network, disks and clocks.

use super::choice::OneOf;
use super::reader::{Problem, Reader};
use super::settings::settings;
use super::units::{Count, Counts, Ratio};

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

    /// The number of members, in a plan.
    pub fn size(&self) -> usize {
        usize::try_from(*self.members.value()).expect("a cluster is small")
    }
}
