//! The cluster under test: its size and settings, its network, disks and clocks.

use super::choice::{Choice, OneOf};
use super::each::EachMember;
use super::reader::{Problem, Reader};
use super::settings::{Draw, Setting as _, settings};
use super::units::{Count, Counts, Ratio, Shift};
use detcd_rt::buggify::Place;

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
        /// The largest request that a member takes, in bytes.
        pub max_request_bytes: Count [1_024..=16_777_216] = 1_572_864,
        /// The most operations that a transaction may have.
        pub max_txn_ops: Count [1..=10_000] = 128,
        /// How long a watcher that wants to hear of progress hears nothing, in milliseconds.
        pub watch_progress_ms: Count [10..=3_600_000] = 10_000,
        /// How long a segment of the raft log is, in bytes, rounded up to whole pages. Segments are
        /// small, so that a short run rolls, recycles and purges them.
        pub log_segment_bytes: Count [16_384..=1_073_741_824] = 262_144,
        /// How much of the raft log is kept in memory, in bytes: so little that what members lag
        /// behind is read back from the files.
        pub log_cache_bytes: Count [0..=1_073_741_824] = 4_096,
        /// Rows of a snapshot are sent in chunks of so many bytes.
        pub snapshot_chunk_bytes: Count [1..=16_777_216] = 262_144,
        /// So many bytes of the raft log are kept for a member that is sent a snapshot, however small
        /// the state is.
        pub deferred_log_bytes: OneOf<u64> [0..=1_073_741_824] = 1_073_741_824,
        /// So many bytes of the raft log are kept while a member is away.
        pub away_log_bytes: OneOf<u64> [0..=1_073_741_824] = 0,
        /// How the network between all machines behaves, faults apart.
        pub network: Network,
        /// How the members' disks behave, faults apart.
        pub disk: Disk,
        /// How the members' clocks go, faults apart, until all is healed.
        pub clock: Clock,
        /// Rare pauses and rarer ways in the members' own code, until all is healed.
        pub buggify: Buggify,
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
        /// How long a write takes, in milliseconds; drawn for each.
        pub write_ms: Counts [0..=60_000] = (0, 0),
        /// How long a read of the raft log takes, in milliseconds; drawn for each.
        pub read_ms: Counts [0..=60_000] = (0, 0),
        /// How much longer a read, write or sync takes at most, in milliseconds, each another time.
        pub jitter_ms: Count [0..=60_000] = 0,
        /// How much is read and written in a second, in bytes; the rest waits its turn.
        pub throughput: Option<Count> [1_000..=1_000_000_000_000],
    }
}

settings! {
    /// Rare pauses and rarer ways in the members' own code, until all is healed. Each place is
    /// switched on or off for the whole run, and fires now and then if it is on.
    pub struct Buggify {
        /// How likely each place is on.
        pub places: Ratio = 0.0,
        /// Places that are on in any case.
        pub with: Vec<Place>,
        /// How likely a place that is on fires, each time a member comes to it.
        pub fires: Ratio = 0.05,
        /// What is waited at a place that fires, in milliseconds; drawn each time.
        pub pause_ms: Counts [0..=60_000] = (1, 50),
    }
}

impl Choice for Place {
    fn words() -> Vec<(&'static str, Place)> {
        let places = Place::ALL.iter();
        places.map(|place| (place.name(), *place)).collect()
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
