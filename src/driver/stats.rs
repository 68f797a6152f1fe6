//! What a member counts of itself: plain atomics, one [`Stats`] for each member instance, read by
//! whoever wants to show them. Nothing is decided by them.
//!
//! Most is counted where the driver sees it anyway: in the events and effects that pass its loop
//! (`Stats::applied`) and at the seams under it (`meter`).

pub use crate::append_stats::{AppendLatency, AppendPace, FollowerLatency};
pub use crate::v2_stats::{Ends, V2Stats};

use arc_swap::ArcSwap;
use detcd_core::api::{OpReply, Reply, TxnReply};
use detcd_core::event::{Applied, LeaseChange};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that is set, or goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn subtract(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One more in a gauge, until it is dropped.
pub(crate) struct Held<'a>(&'a Gauge);

impl<'a> Held<'a> {
    pub fn of(gauge: &'a Gauge) -> Held<'a> {
        gauge.add(1);
        Held(gauge)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.subtract(1);
    }
}

/// How the buckets of a histogram are laid out: each twice as wide as the one before, the first up
/// to `first` (in the unit in which the histogram is shown).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Buckets {
    pub first: f64,
    pub count: usize,
}

impl Buckets {
    /// Up to `first`, twice, four times … as much, `count` of them; what is more is counted apart.
    pub const fn new(first: f64, count: usize) -> Buckets {
        assert!(count < Histogram::BUCKETS_MAX);
        Buckets { first, count }
    }

    /// The upper bound of each bucket.
    pub fn bounds(self) -> impl Iterator<Item = f64> {
        (0..self.count).map(move |place| self.first * (1_u64 << place) as f64)
    }
}

/// Values by size.
#[derive(Debug)]
pub struct Histogram {
    buckets: Buckets,
    /// Not cumulative; the last one that is used holds what is beyond all bounds.
    counts: [AtomicU64; Histogram::BUCKETS_MAX],
    /// In millionths of the unit.
    sum_millionths: AtomicU64,
}

impl Histogram {
    const BUCKETS_MAX: usize = 32;

    pub const fn new(buckets: Buckets) -> Histogram {
        Histogram {
            buckets,
            counts: [const { AtomicU64::new(0) }; Histogram::BUCKETS_MAX],
            sum_millionths: AtomicU64::new(0),
        }
    }

    pub fn observe(&self, value: f64) {
        let beyond = self.buckets.count;
        let place = self.buckets.bounds().position(|bound| value <= bound);
        self.counts[place.unwrap_or(beyond)].fetch_add(1, Ordering::Relaxed);
        let millionths = (value * 1e6) as u64;
        self.sum_millionths.fetch_add(millionths, Ordering::Relaxed);
    }

    /// Of a histogram in seconds.
    pub fn observe_seconds(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }

    /// Each bucket's bound and how many values lie at or below it, how many there are, and their
    /// sum. Values that come in meanwhile may be missing in one or the other.
    pub fn read(&self) -> Reading {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(self.buckets.count);
        for (place, bound) in self.buckets.bounds().enumerate() {
            count += self.counts[place].load(Ordering::Relaxed);
            buckets.push((bound, count));
        }
        count += self.counts[self.buckets.count].load(Ordering::Relaxed);
        let sum = self.sum_millionths.load(Ordering::Relaxed) as f64 / 1e6;
        Reading {
            buckets,
            count,
            sum,
        }
    }
}

/// What a [`Histogram`] holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Upper bounds, and how many values do not exceed them.
    pub buckets: Vec<(f64, u64)>,
    pub count: u64,
    pub sum: f64,
}

/// Of disks: from a millisecond to 8 seconds.
const DISK: Buckets = Buckets::new(0.001, 14);
/// Of messages: from a tenth of a millisecond to 3 seconds.
const NETWORK: Buckets = Buckets::new(0.0001, 16);
/// Of whole states that travel: from a tenth of a second to 51 seconds.
const TRANSFER: Buckets = Buckets::new(0.1, 10);
/// Of leases: from a second to three months.
const LEASE_TTL: Buckets = Buckets::new(1.0, 24);
/// In milliseconds: from one to 4 seconds.
const PAUSE_MS: Buckets = Buckets::new(1.0, 13);
/// Of hashes of everything: from a hundredth of a second to 3 minutes.
const HASH: Buckets = Buckets::new(0.01, 15);
/// In milliseconds: from a tenth of a second to 14 minutes.
const COMPACTION_MS: Buckets = Buckets::new(100.0, 14);

/// Everything that one member counts.
#[derive(Debug)]
pub struct Stats {
    /// Syncs of the raft log, in seconds.
    pub log_sync: Histogram,
    pub log_bytes: Counter,
    /// Writes to the store, in seconds: a batch of applied entries, or a step of a compaction.
    pub store_write: Histogram,
    /// Writes to the store that took longer than 100 ms.
    pub slow_writes: Counter,
    pub proposals_pending: Gauge,
    pub read_rounds_failed: Counter,
    pub read_rounds_slow: Counter,
    pub puts: Counter,
    pub put_bytes: Counter,
    pub deletes: Counter,
    pub ranges: Counter,
    pub txns: Counter,
    pub leases_granted: Counter,
    pub leases_revoked: Counter,
    /// By this member as leader.
    pub leases_renewed: Gauge,
    pub leases_expired: Counter,
    /// The times to live that were granted, in seconds.
    pub lease_ttls: Histogram,
    pub watchers: Gauge,
    pub watchers_lagging: Gauge,
    /// Events given to watch streams.
    pub events_sent: Counter,
    /// Of those, the ones that their streams have not taken yet.
    pub events_pending: Gauge,
    pub compacted_rows: Counter,
    /// When the last compaction was finished here (Unix time, in seconds).
    pub compacted_at: Gauge,
    /// Steps of compactions, in milliseconds.
    pub compaction_steps: Histogram,
    /// Whole compactions, in milliseconds.
    pub compactions: Histogram,
    /// Hashes of the key space, in seconds.
    pub hashes: Histogram,
    pub heartbeats_lost: Counter,
    /// Snapshots of the leader that are being received or installed.
    pub snapshots_incoming: Gauge,
    /// Bytes that are free on the file system of the data-dir.
    pub disk_free: Gauge,
    /// 1 while that is less than what is needed soon.
    pub disk_low: Gauge,
    /// Entries to followers, and from a leader.
    pub appends_sent: AppendPace,
    pub appends_received: AppendPace,
    pub v2: V2Stats,
    peers: ArcSwap<BTreeMap<u64, Arc<PeerStats>>>,
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            log_sync: Histogram::new(DISK),
            log_bytes: Counter::default(),
            store_write: Histogram::new(DISK),
            slow_writes: Counter::default(),
            proposals_pending: Gauge::default(),
            read_rounds_failed: Counter::default(),
            read_rounds_slow: Counter::default(),
            puts: Counter::default(),
            put_bytes: Counter::default(),
            deletes: Counter::default(),
            ranges: Counter::default(),
            txns: Counter::default(),
            leases_granted: Counter::default(),
            leases_revoked: Counter::default(),
            leases_renewed: Gauge::default(),
            leases_expired: Counter::default(),
            lease_ttls: Histogram::new(LEASE_TTL),
            watchers: Gauge::default(),
            watchers_lagging: Gauge::default(),
            events_sent: Counter::default(),
            events_pending: Gauge::default(),
            compacted_rows: Counter::default(),
            compacted_at: Gauge::default(),
            compaction_steps: Histogram::new(PAUSE_MS),
            compactions: Histogram::new(COMPACTION_MS),
            hashes: Histogram::new(HASH),
            heartbeats_lost: Counter::default(),
            snapshots_incoming: Gauge::default(),
            disk_free: Gauge::default(),
            disk_low: Gauge::default(),
            appends_sent: AppendPace::default(),
            appends_received: AppendPace::default(),
            v2: V2Stats::default(),
            peers: ArcSwap::default(),
        }
    }
}

impl Stats {
    /// The other members that this one has been told of.
    pub fn peers(&self) -> Arc<BTreeMap<u64, Arc<PeerStats>>> {
        self.peers.load_full()
    }

    pub(crate) fn peer(&self, id: u64) -> Option<Arc<PeerStats>> {
        self.peers.load().get(&id).cloned()
    }

    pub(crate) fn know_peer(&self, id: u64) {
        self.peers.rcu(|peers| {
            let mut peers = BTreeMap::clone(peers);
            peers.entry(id).or_default();
            peers
        });
    }

    /// Counts what entries did. Every member applies them, so every member counts them.
    pub(crate) fn applied(&self, entries: &[Applied]) {
        let mut ops = Ops::default();
        for entry in entries {
            self.v2.applied(entry);
            match entry.lease {
                Some(LeaseChange::Granted { ttl, .. }) => {
                    self.leases_granted.add(1);
                    self.lease_ttls.observe(ttl as f64);
                }
                Some(LeaseChange::Revoked { .. }) => {
                    self.leases_revoked.add(1);
                    ops.deletes += entry.changes.len() as u64;
                }
                None => {}
            }
            match &entry.outcome.result {
                Ok(Reply::Put(_)) => ops.puts += 1,
                Ok(Reply::DeleteRange(_)) => ops.deletes += 1,
                Ok(Reply::Txn(txn)) => ops.txn(txn),
                Ok(Reply::Compact | Reply::LeaseGrant { .. } | Reply::LeaseRevoke)
                | Ok(
                    Reply::AlarmRaise(_)
                    | Reply::AlarmDisarm(_)
                    | Reply::Downgrade(_)
                    | Reply::V2(..)
                    | Reply::V2Auth(_),
                )
                | Ok(Reply::Authenticated { .. } | Reply::Done)
                | Err(_) => {}
            }
            for change in &entry.changes {
                ops.bytes += (change.kv.key.len() + change.kv.value.len()) as u64;
            }
        }
        self.add(&ops);
    }

    /// Counts a read that this member served.
    pub(crate) fn read_txn(&self, reply: &TxnReply) {
        let mut ops = Ops::default();
        ops.txn(reply);
        self.add(&ops);
    }

    fn add(&self, ops: &Ops) {
        self.puts.add(ops.puts);
        self.put_bytes.add(ops.bytes);
        self.deletes.add(ops.deletes);
        self.ranges.add(ops.ranges);
        self.txns.add(ops.txns);
    }
}

/// Operations of a batch.
#[derive(Default)]
struct Ops {
    puts: u64,
    deletes: u64,
    ranges: u64,
    txns: u64,
    bytes: u64,
}

impl Ops {
    fn txn(&mut self, txn: &TxnReply) {
        self.txns += 1;
        for response in &txn.responses {
            match response {
                OpReply::Range(_) => self.ranges += 1,
                OpReply::Put(_) => self.puts += 1,
                OpReply::DeleteRange(_) => self.deletes += 1,
                OpReply::Txn(txn) => self.txn(txn),
            }
        }
    }
}

/// What a member counts of its traffic with another.
#[derive(Debug)]
pub struct PeerStats {
    pub sent_bytes: Counter,
    pub received_bytes: Counter,
    pub send_failures: Counter,
    pub receive_failures: Counter,
    /// Times that the connection was lost.
    pub disconnects: Counter,
    /// Heartbeats and their answers, in seconds.
    pub round_trip: Histogram,
    pub append_latency: FollowerLatency,
    pub snapshots_sent: Snapshots,
    pub snapshots_received: Snapshots,
    /// Whether the last message reached the peer, or one came from it since.
    active: AtomicBool,
}

impl Default for PeerStats {
    fn default() -> PeerStats {
        PeerStats {
            sent_bytes: Counter::default(),
            received_bytes: Counter::default(),
            send_failures: Counter::default(),
            receive_failures: Counter::default(),
            disconnects: Counter::default(),
            round_trip: Histogram::new(NETWORK),
            append_latency: FollowerLatency::default(),
            snapshots_sent: Snapshots::default(),
            snapshots_received: Snapshots::default(),
            active: AtomicBool::new(false),
        }
    }
}

impl PeerStats {
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    pub(crate) fn set_active(&self, active: bool) {
        // Almost always it is so already, and a load is cheaper than a swap.
        if self.is_active() != active && self.active.swap(active, Ordering::Relaxed) && !active {
            self.disconnects.add(1);
        }
    }
}

/// Whole states that went one way.
#[derive(Debug)]
pub struct Snapshots {
    pub under_way: Gauge,
    pub done: Counter,
    pub failed: Counter,
    /// Those that arrived, in seconds.
    pub seconds: Histogram,
}

impl Default for Snapshots {
    fn default() -> Snapshots {
        Snapshots {
            under_way: Gauge::default(),
            done: Counter::default(),
            failed: Counter::default(),
            seconds: Histogram::new(TRANSFER),
        }
    }
}

impl Snapshots {
    pub(crate) fn ended(&self, well: bool, took: Duration) {
        match well {
            true => {
                self.done.add(1);
                self.seconds.observe_seconds(took);
            }
            false => self.failed.add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_their_buckets() {
        let histogram = Histogram::new(Buckets::new(1.0, 3));
        for value in [0.5, 1.0, 1.5, 4.0, 100.0] {
            histogram.observe(value);
        }
        let reading = histogram.read();
        assert_eq!(reading.buckets, [(1.0, 2), (2.0, 3), (4.0, 4)]);
        assert_eq!((reading.count, reading.sum), (5, 107.0));
    }

    #[test]
    fn a_peer_is_lost_once() {
        let peer = PeerStats::default();
        peer.set_active(false);
        assert_eq!(peer.disconnects.get(), 0, "it was never reached");
        peer.set_active(true);
        peer.set_active(false);
        peer.set_active(false);
        assert_eq!((peer.is_active(), peer.disconnects.get()), (false, 1));
    }
}
