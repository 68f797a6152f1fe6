//! What the member counts of itself ([`Stats`], [`Counts`]), as families of the page under etcd's names.

use detcd_core::api::MemberId;
use detcd_driver::stats::{Histogram, Reading, Snapshots, Stats};
use detcd_service::Counts;
use prometheus::proto::{self, LabelPair, Metric, MetricFamily, MetricType};

/// The families, in no order. Those with a label for the other member are absent where there is
/// none.
pub(super) fn families(local: MemberId, stats: &Stats, counts: &Counts) -> Vec<MetricFamily> {
    let mut page = Page::default();
    services(&mut page, counts);
    storage(&mut page, stats);
    requests(&mut page, stats);
    watches_and_leases(&mut page, stats);
    compactions(&mut page, stats);
    peers(&mut page, local, stats);
    snapshots(&mut page, stats);
    page.families
}

fn services(page: &mut Page, counts: &Counts) {
    page.counter(
        "etcd_server_proposals_failed_total",
        "Writes whose outcome is unknown.",
        counts.proposals_failed.get(),
    );
    page.gauge(
        "etcd_debugging_mvcc_watch_stream_total",
        "Open watch streams.",
        counts.watch_streams.get(),
    );
}

fn storage(page: &mut Page, stats: &Stats) {
    page.histogram(
        "etcd_disk_wal_fsync_duration_seconds",
        "Seconds that a sync of the raft log takes.",
        &stats.log_sync,
    );
    page.gauge(
        "etcd_disk_wal_write_bytes_total",
        "Bytes written to the raft log.",
        stats.log_bytes.get(),
    );
    page.histogram(
        "etcd_disk_backend_commit_duration_seconds",
        "Seconds that a write to the store takes.",
        &stats.store_write,
    );
    page.counter(
        "etcd_server_slow_apply_total",
        "Writes to the store that took longer than 100 ms.",
        stats.slow_writes.get(),
    );
    page.gauge(
        "detcd_disk_free_bytes",
        "Bytes that are free on the file system of the data-dir.",
        stats.disk_free.get(),
    );
    page.gauge(
        "detcd_disk_free_low",
        "1 while less is free on the file system of the data-dir than is needed within minutes.",
        stats.disk_low.get(),
    );
}

fn requests(page: &mut Page, stats: &Stats) {
    page.gauge(
        "etcd_server_proposals_pending",
        "Writes that wait for their outcome.",
        stats.proposals_pending.get(),
    );
    page.counter(
        "etcd_server_read_indexes_failed_total",
        "Read rounds that got no read index.",
        stats.read_rounds_failed.get(),
    );
    page.counter(
        "etcd_server_slow_read_indexes_total",
        "Read rounds that took longer than 500 ms.",
        stats.read_rounds_slow.get(),
    );
    page.counter(
        "etcd_server_heartbeat_send_failures_total",
        "Heartbeats that were not answered in time.",
        stats.heartbeats_lost.get(),
    );
    let counts = [
        ("etcd_mvcc_put_total", "Puts applied.", &stats.puts),
        ("etcd_mvcc_delete_total", "Deletes applied.", &stats.deletes),
        ("etcd_mvcc_range_total", "Ranges served.", &stats.ranges),
        ("etcd_mvcc_txn_total", "Transactions.", &stats.txns),
    ];
    for (name, help, count) in counts {
        page.counter(name, help, count.get());
    }
    page.gauge(
        "etcd_debugging_mvcc_total_put_size_in_bytes",
        "Bytes of the keys and values that were put.",
        stats.put_bytes.get(),
    );
    page.histogram(
        "etcd_mvcc_hash_rev_duration_seconds",
        "Seconds that a hash of the key space at a revision takes.",
        &stats.hashes,
    );
}

fn watches_and_leases(page: &mut Page, stats: &Stats) {
    page.gauge(
        "etcd_debugging_mvcc_watcher_total",
        "Watchers.",
        stats.watchers.get(),
    );
    page.gauge(
        "etcd_debugging_mvcc_slow_watcher_total",
        "Watchers that lag.",
        stats.watchers_lagging.get(),
    );
    page.counter(
        "etcd_debugging_mvcc_events_total",
        "Events given to watch streams.",
        stats.events_sent.get(),
    );
    page.gauge(
        "etcd_debugging_mvcc_pending_events_total",
        "Events that their streams have not taken yet.",
        stats.events_pending.get(),
    );
    let counts = [
        (
            "etcd_debugging_lease_granted_total",
            "granted",
            stats.leases_granted.get(),
        ),
        (
            "etcd_debugging_lease_revoked_total",
            "revoked",
            stats.leases_revoked.get(),
        ),
        (
            "etcd_debugging_lease_renewed_total",
            "renewed by this member as leader",
            stats.leases_renewed.get(),
        ),
        (
            "etcd_debugging_server_lease_expired_total",
            "whose end this member proposed",
            stats.leases_expired.get(),
        ),
    ];
    for (name, what, count) in counts {
        page.counter(name, &format!("Leases {what}."), count);
    }
    page.histogram(
        "etcd_debugging_lease_ttl_total",
        "Times to live that were granted, in seconds.",
        &stats.lease_ttls,
    );
}

fn compactions(page: &mut Page, stats: &Stats) {
    page.counter(
        "etcd_debugging_mvcc_db_compaction_keys_total",
        "Rows of history that compactions removed.",
        stats.compacted_rows.get(),
    );
    page.gauge(
        "etcd_debugging_mvcc_db_compaction_last",
        "The Unix time of the last compaction's end; zero after a start.",
        stats.compacted_at.get(),
    );
    page.histogram(
        "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
        "Milliseconds that a step of a compaction takes.",
        &stats.compaction_steps,
    );
    page.histogram(
        "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
        "Milliseconds that a compaction takes.",
        &stats.compactions,
    );
}

fn peers(page: &mut Page, local: MemberId, stats: &Stats) {
    let known = stats.peers();
    let known: Vec<_> = known.iter().map(|(id, it)| (MemberId(*id), it)).collect();
    if known.is_empty() {
        return;
    }
    let pair = |id: MemberId| vec![label("Local", local), label("Remote", id)];
    let to = |id: MemberId| vec![label("To", id)];
    let from = |id: MemberId| vec![label("From", id)];
    let active = known
        .iter()
        .map(|(id, peer)| gauge(peer.is_active().into(), pair(*id)));
    page.family(
        (
            "etcd_network_active_peers",
            "Whether the member is in reach.",
        ),
        MetricType::GAUGE,
        active.collect(),
    );
    let lost = known
        .iter()
        .map(|(id, peer)| counter(peer.disconnects.get(), pair(*id)));
    page.family(
        (
            "etcd_network_disconnected_peers_total",
            "Times that the member went out of reach.",
        ),
        MetricType::COUNTER,
        lost.collect(),
    );
    let ways = [
        (
            "etcd_network_peer_sent_bytes_total",
            "Bytes sent to the member.",
        ),
        (
            "etcd_network_peer_sent_failures_total",
            "Messages that may not have reached the member.",
        ),
        (
            "etcd_network_peer_received_bytes_total",
            "Bytes received from the member.",
        ),
        (
            "etcd_network_peer_received_failures_total",
            "Messages of the member that were refused.",
        ),
    ];
    for (way, names) in ways.into_iter().enumerate() {
        let metrics = known.iter().map(|(id, peer)| match way {
            0 => counter(peer.sent_bytes.get(), to(*id)),
            1 => counter(peer.send_failures.get(), to(*id)),
            2 => counter(peer.received_bytes.get(), from(*id)),
            _ => counter(peer.receive_failures.get(), from(*id)),
        });
        page.family(names, MetricType::COUNTER, metrics.collect());
    }
    let trips = known
        .iter()
        .map(|(id, peer)| histogram(&peer.round_trip.read(), to(*id)));
    page.family(
        (
            "etcd_network_peer_round_trip_time_seconds",
            "Seconds from a heartbeat to its answer.",
        ),
        MetricType::HISTOGRAM,
        trips.collect(),
    );
}

fn snapshots(page: &mut Page, stats: &Stats) {
    page.gauge(
        "etcd_server_snapshot_apply_in_progress_total",
        "Whether a snapshot of the leader is being received or installed.",
        stats.snapshots_incoming.get(),
    );
    let known = stats.peers();
    if known.is_empty() {
        return;
    }
    for (way, end) in [("send", "To"), ("receive", "From")] {
        let of = |make: &dyn Fn(&Snapshots, Vec<LabelPair>) -> Metric| -> Vec<Metric> {
            let each = known.iter().map(|(id, peer)| {
                let snapshots = match way {
                    "send" => &peer.snapshots_sent,
                    _ => &peer.snapshots_received,
                };
                make(snapshots, vec![label(end, MemberId(*id))])
            });
            each.collect()
        };
        let name = |what: &str| format!("etcd_network_snapshot_{way}_{what}");
        page.family(
            (&name("inflights_total"), "Snapshots under way."),
            MetricType::GAUGE,
            of(&|it, labels| gauge(it.under_way.get(), labels)),
        );
        page.family(
            (&name("success"), "Snapshots that arrived."),
            MetricType::COUNTER,
            of(&|it, labels| counter(it.done.get(), labels)),
        );
        page.family(
            (&name("failures"), "Snapshots that did not arrive."),
            MetricType::COUNTER,
            of(&|it, labels| counter(it.failed.get(), labels)),
        );
        page.family(
            (
                &name("total_duration_seconds"),
                "Seconds that a snapshot takes.",
            ),
            MetricType::HISTOGRAM,
            of(&|it, labels| histogram(&it.seconds.read(), labels)),
        );
    }
}

#[derive(Default)]
pub(super) struct Page {
    pub families: Vec<MetricFamily>,
}

impl Page {
    pub fn family(&mut self, (name, help): (&str, &str), kind: MetricType, metrics: Vec<Metric>) {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.families.push(family);
    }

    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        let metric = counter(value, Vec::new());
        self.family((name, help), MetricType::COUNTER, vec![metric]);
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        let metric = gauge(value, Vec::new());
        self.family((name, help), MetricType::GAUGE, vec![metric]);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        let metric = self::histogram(&histogram.read(), Vec::new());
        self.family((name, help), MetricType::HISTOGRAM, vec![metric]);
    }
}

fn label(name: &str, member: MemberId) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(member.to_string());
    label
}

pub(super) fn counter(value: u64, labels: Vec<LabelPair>) -> Metric {
    let mut counter = proto::Counter::default();
    counter.set_value(value as f64);
    let mut metric = Metric::from_label(labels);
    metric.set_counter(counter);
    metric
}

pub(super) fn gauge(value: u64, labels: Vec<LabelPair>) -> Metric {
    let mut gauge = proto::Gauge::default();
    gauge.set_value(value as f64);
    let mut metric = Metric::from_label(labels);
    metric.set_gauge(gauge);
    metric
}

fn histogram(reading: &Reading, labels: Vec<LabelPair>) -> Metric {
    let bucket = |&(bound, count): &(f64, u64)| {
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    };
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(reading.buckets.iter().map(bucket).collect());
    histogram.set_sample_count(reading.count);
    histogram.set_sample_sum(reading.sum);
    let mut metric = Metric::from_label(labels);
    metric.set_histogram(histogram);
    metric
}
