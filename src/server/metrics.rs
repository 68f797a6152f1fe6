//! What a member measures of itself, under etcd's names. Each server has its own registry.
//!
//! Counters on the hot path are found once and kept; everything that the member knows anyway
//! (revision, size, terms) is only looked up when somebody asks for the page.

mod member;
mod process;
mod tls;

use super::TlsSides;
use ::http::HeaderMap;
use detcd_driver::Handle;
use detcd_service::{METHODS, Method, Service, Streaming};
use prometheus::{
    Counter, Encoder as _, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::sync::Arc;
use tonic::{Code, Status};

/// Client versions that are counted by name; a client may claim anything.
const CLIENT_VERSIONS: &[&str] = &["3.3", "3.4", "3.5", "3.6", "3.7", "3.8"];
/// The header by which clients tell their version.
const CLIENT_VERSION: &str = "client-api-version";

/// All counters of one member's servers.
pub(crate) struct Metrics {
    handle: Handle,
    service: Service,
    registry: Registry,
    methods: Vec<Counters>,
    handled: IntCounterVec,
    latency: Option<HistogramVec>,
    clients: IntCounterVec,
    clients_unknown: [IntCounter; 2],
    traffic: Arc<ClientTraffic>,
    state: State,
    pub leader_changes: IntCounter,
    pub health_success: IntCounter,
    pub health_failures: IntCounter,
    checks: IntCounterVec,
    check_results: IntGaugeVec,
}

/// The bytes of client connections.
pub(crate) struct ClientTraffic {
    received: IntCounter,
    sent: IntCounter,
}

impl detcd_net::Traffic for ClientTraffic {
    fn received(&self, bytes: usize) {
        self.received.inc_by(bytes as u64);
    }

    fn sent(&self, bytes: usize) {
        self.sent.inc_by(bytes as u64);
    }
}

/// The counters of one method.
struct Counters {
    started: IntCounter,
    ok: IntCounter,
    received: IntCounter,
    sent: IntCounter,
}

/// Gauges that are set when the page is asked for.
struct State {
    has_leader: IntGauge,
    is_leader: IntGauge,
    is_learner: IntGauge,
    committed: IntGauge,
    applied: IntGauge,
    db_size: IntGauge,
    db_in_use: IntGauge,
    revision: IntGauge,
    compact_revision: IntGauge,
    process: process::Gauges,
}

impl Metrics {
    pub fn new(handle: &Handle, service: &Service, extensive: bool) -> Metrics {
        let registry = Registry::new();
        let make = Make {
            registry: &registry,
        };
        let labels = ["grpc_type", "grpc_service", "grpc_method"];
        let started = make.counters("grpc_server_started_total", "RPCs started.", &labels);
        let received = make.counters(
            "grpc_server_msg_received_total",
            "Messages received.",
            &labels,
        );
        let sent = make.counters("grpc_server_msg_sent_total", "Messages sent.", &labels);
        let handled = make.counters(
            "grpc_server_handled_total",
            "RPCs completed, whatever came of them.",
            &["grpc_type", "grpc_service", "grpc_method", "grpc_code"],
        );
        let methods = METHODS
            .iter()
            .map(|method| {
                let labels = labels_of(method);
                Counters {
                    started: started.with_label_values(&labels),
                    ok: handled.with_label_values(&[labels[0], labels[1], labels[2], "OK"]),
                    received: received.with_label_values(&labels),
                    sent: sent.with_label_values(&labels),
                }
            })
            .collect();
        let clients = make.counters(
            "etcd_server_client_requests_total",
            "Requests by the version that the client claims.",
            &["type", "client_api_version"],
        );
        make.facts(handle, service);
        Metrics {
            handle: handle.clone(),
            service: service.clone(),
            methods,
            handled,
            latency: extensive.then(|| make.latency()),
            clients_unknown: ["unary", "stream"]
                .map(|kind| clients.with_label_values(&[kind, "unknown"])),
            clients,
            traffic: Arc::new(ClientTraffic {
                received: make.counter(
                    "etcd_network_client_grpc_received_bytes_total",
                    "Bytes received from clients.",
                ),
                sent: make.counter(
                    "etcd_network_client_grpc_sent_bytes_total",
                    "Bytes sent to clients.",
                ),
            }),
            state: make.state(),
            leader_changes: make.counter(
                "etcd_server_leader_changes_seen_total",
                "Changes of the leader seen.",
            ),
            health_success: make.counter("etcd_server_health_success", "Health checks passed."),
            health_failures: make.counter("etcd_server_health_failures", "Health checks failed."),
            checks: make.counters(
                "etcd_server_healthchecks_total",
                "Checks of the probes by their results.",
                &["type", "name", "status"],
            ),
            check_results: make.gauges(
                "etcd_server_healthcheck",
                "Whether the check passed when it was last run.",
                &["type", "name"],
            ),
            registry,
        }
    }

    /// Counts the result of one check of a probe.
    pub fn checked(&self, probe: &str, check: &str, well: bool) {
        let status = if well { "success" } else { "error" };
        self.checks.with_label_values(&[probe, check, status]).inc();
        self.check_results
            .with_label_values(&[probe, check])
            .set(well.into());
    }

    /// Where the bytes of client connections are counted.
    pub fn client_traffic(&self) -> Arc<ClientTraffic> {
        self.traffic.clone()
    }

    /// Counts a request by the version that its client claims.
    pub fn count_client(&self, method: Option<&Method>, headers: &HeaderMap) -> Result<(), Status> {
        let stream = method.is_some_and(Method::streams);
        let Some(version) = headers.get(CLIENT_VERSION) else {
            self.clients_unknown[usize::from(stream)].inc();
            return Ok(());
        };
        let version = std::str::from_utf8(version.as_bytes())
            .map_err(|_| Status::invalid_argument("etcdserver: invalid client api version"))?;
        let kind = if stream { "stream" } else { "unary" };
        self.clients
            .with_label_values(&[kind, known_version(version)])
            .inc();
        Ok(())
    }

    pub fn started(&self, method: &Method) {
        let counters = &self.methods[method.index()];
        counters.started.inc();
        if method.streaming == Streaming::Unary {
            counters.received.inc();
        }
    }

    /// A clock for one request, if latencies are wanted.
    pub fn stopwatch(&self) -> Option<detcd_rt::Instant> {
        self.latency.is_some().then(detcd_rt::Instant::now)
    }

    /// A call has ended.
    pub fn handled(&self, method: &Method, code: Code, started: Option<detcd_rt::Instant>) {
        let [kind, service, name] = labels_of(method);
        if code == Code::Ok {
            let counters = &self.methods[method.index()];
            counters.ok.inc();
            if method.streaming == Streaming::Unary {
                counters.sent.inc();
            }
        } else {
            self.handled
                .with_label_values(&[kind, service, name, go_name(code)])
                .inc();
        }
        if let (Some(latency), Some(started)) = (&self.latency, started) {
            let elapsed = detcd_rt::Instant::now() - started;
            latency
                .with_label_values(&[kind, service, name])
                .observe(elapsed.as_secs_f64());
        }
    }

    /// A message of a stream has come.
    pub fn received(&self, method: &Method) {
        self.methods[method.index()].received.inc();
    }

    /// A message of a stream goes out.
    pub fn sent(&self, method: &Method) {
        self.methods[method.index()].sent.inc();
    }

    /// The page.
    pub fn page(&self, tls: &TlsSides) -> Vec<u8> {
        self.read_state();
        let mut families = self.registry.gather();
        let local = self.handle.header(0).member_id;
        let (stats, counts) = (self.handle.stats(), self.service.counts());
        families.extend(member::families(local, stats, counts));
        families.extend(tls::families(tls));
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut page = Vec::new();
        // Families have names and metrics of their own type, so the encoder can write them.
        TextEncoder::new()
            .encode(&families, &mut page)
            .expect("our own families are well formed");
        page
    }

    fn read_state(&self) {
        let status = self.handle.status();
        let published = self.handle.published();
        let state = &self.state;
        let leader = *self.handle.leader().borrow();
        let local = self.handle.header(0).member_id;
        state.has_leader.set(leader.is_some().into());
        // One that has lost its quorum leads nobody.
        state.is_leader.set((leader == Some(local)).into());
        state.is_learner.set(status.raft.is_learner.into());
        state.committed.set(status.raft.committed as i64);
        state.applied.set(published.applied as i64);
        state.db_size.set(status.db_size);
        state.db_in_use.set(status.db_size_in_use);
        state.revision.set(published.revision);
        state.compact_revision.set(published.compact_revision);
        state.process.look();
    }
}

/// The labels of go-grpc-prometheus.
fn labels_of(method: &Method) -> [&'static str; 3] {
    [method.streaming.label(), method.service, method.name]
}

/// Makes and registers. Names are ours and stand once, so registering cannot fail.
struct Make<'a> {
    registry: &'a Registry,
}

impl Make<'_> {
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let counters = IntCounterVec::new(Opts::new(name, help), labels).expect("a valid name");
        self.register(counters)
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help).expect("a valid name"))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels).expect("a valid name"))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help).expect("a valid name"))
    }

    fn fact(&self, name: &str, help: &str, label: &str, value: &str) {
        let gauge = IntGaugeVec::new(Opts::new(name, help), &[label]).expect("a valid name");
        self.register(gauge).with_label_values(&[value]).set(1);
    }

    fn latency(&self) -> HistogramVec {
        let options = HistogramOpts::new(
            "grpc_server_handling_seconds",
            "Seconds until the response.",
        );
        let labels = ["grpc_type", "grpc_service", "grpc_method"];
        self.register(HistogramVec::new(options, &labels).expect("a valid name"))
    }

    /// What never changes while the member runs.
    fn facts(&self, handle: &Handle, service: &Service) {
        let options = service.options();
        let id = handle.header(0).member_id;
        self.fact(
            "etcd_server_id",
            "The member's id.",
            "server_id",
            &format!("{id}"),
        );
        let version = &options.etcd_version;
        self.fact(
            "etcd_server_version",
            "The version of etcd.",
            "server_version",
            version,
        );
        let minor = version
            .rsplit_once('.')
            .map_or(&version[..], |(minor, _)| minor);
        self.fact(
            "etcd_cluster_version",
            "The cluster's version.",
            "cluster_version",
            minor,
        );
        let detcd = env!("CARGO_PKG_VERSION");
        self.fact(
            "detcd_version",
            "The version of detcd.",
            "detcd_version",
            detcd,
        );
        let quota = options.quota_backend_bytes.unwrap_or(0);
        self.gauge(
            "etcd_server_quota_backend_bytes",
            "The quota of stored bytes.",
        )
        .set(i64::try_from(quota).unwrap_or(i64::MAX));
    }

    fn state(&self) -> State {
        State {
            has_leader: self.gauge("etcd_server_has_leader", "Whether a leader is known."),
            is_leader: self.gauge("etcd_server_is_leader", "Whether this member leads."),
            is_learner: self.gauge(
                "etcd_server_is_learner",
                "Whether this member may not vote.",
            ),
            committed: self.gauge(
                "etcd_server_proposals_committed_total",
                "Log entries committed.",
            ),
            applied: self.gauge(
                "etcd_server_proposals_applied_total",
                "Log entries applied.",
            ),
            db_size: self.gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes stored."),
            db_in_use: self.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes in use."),
            revision: self.gauge(
                "etcd_debugging_mvcc_current_revision",
                "The store's revision.",
            ),
            compact_revision: self.gauge(
                "etcd_debugging_mvcc_compact_revision",
                "The compaction revision.",
            ),
            process: process::Gauges::new(
                |name, help| self.gauge(name, help),
                |name, help| self.register(Counter::new(name, help).expect("a valid name")),
            ),
        }
    }

    fn register<C: prometheus::core::Collector + Clone + 'static>(&self, collector: C) -> C {
        self.registry
            .register(Box::new(collector.clone()))
            .expect("each name stands once");
        collector
    }
}

fn known_version(version: &str) -> &str {
    match CLIENT_VERSIONS.contains(&version) {
        true => version,
        false => "other",
    }
}

/// The code as Go's label has it.
fn go_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
