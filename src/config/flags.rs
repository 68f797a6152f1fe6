//! The table of flags: every flag of etcd that detcd knows of, and what it does about it.
//!
//! A flag that detcd cannot honour is never ignored in silence: it is refused, unless it is given
//! the value that describes what detcd does anyway.

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// `--flag` alone means true; a value needs `=`.
    Bool,
    Uint,
    Int,
    /// As Go writes them: `1h30m`, `500ms`.
    Duration,
    /// URLs separated by commas.
    Urls,
    /// `HOST:PORT`, as etcd 0.2 took addresses.
    Address,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// What detcd does about a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Does what its help says.
    Works,
    /// Accepted with any value, and means nothing here: it tunes a part that etcd has and detcd
    /// has not.
    Inert,
    /// Accepted with its default only: detcd does not offer what another value asks for.
    DefaultOnly,
    /// Accepted as etcd 2 did it: with a warning that nothing comes of it.
    Dropped,
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    pub name: &'static str,
    pub kind: Kind,
    pub default: &'static str,
    pub status: Status,
    pub help: &'static str,
}

impl Flag {
    /// The environment variable that gives the flag's value.
    pub fn env(&self) -> String {
        format!(
            "{ENV_PREFIX}{}",
            self.name.to_ascii_uppercase().replace('-', "_")
        )
    }

    /// Whether etcd has called it by a name with `experimental-` before.
    pub fn was_experimental(&self) -> bool {
        ONCE_EXPERIMENTAL.contains(&self.name)
    }

    /// Whether a variable can give it. `v` and `vv` were flags alone.
    pub fn has_variable(&self) -> bool {
        !self.is_question() && !matches!(self.name, "v" | "vv")
    }

    /// Asks for a text about the program instead of a server. Has no environment variable:
    /// container images set `ETCD_VERSION` to say what they hold.
    pub fn is_question(&self) -> bool {
        matches!(self.name, "help" | "h" | "version")
    }
}

/// What every variable's name begins with.
pub const ENV_PREFIX: &str = "ETCD_";

/// The flags under one heading of the help.
pub struct Section {
    pub title: &'static str,
    pub flags: &'static [Flag],
}

/// Flags whose names began with `experimental-` in some etcd from 3.4 to 3.6.
const ONCE_EXPERIMENTAL: &[&str] = &[
    "backend-bbolt-freelist-type",
    "bootstrap-defrag-threshold-megabytes",
    "compact-hash-check-enabled",
    "compact-hash-check-time",
    "compaction-batch-limit",
    "compaction-sleep-interval",
    "corrupt-check-time",
    "distributed-tracing-address",
    "distributed-tracing-instance-id",
    "distributed-tracing-sampling-rate",
    "distributed-tracing-service-name",
    "downgrade-check-time",
    "enable-distributed-tracing",
    "enable-lease-checkpoint",
    "enable-lease-checkpoint-persist",
    "initial-corrupt-check",
    "max-learners",
    "memory-mlock",
    "peer-skip-client-san-verification",
    "snapshot-catchup-entries",
    "stop-grpc-service-on-defrag",
    "txn-mode-write-with-shared-buffer",
    "warning-apply-duration",
    "warning-unary-request-duration",
    "watch-progress-notify-interval",
];

/// The flag called `name`, as it is called now or was called while it was experimental.
pub fn find(name: &str) -> Option<&'static Flag> {
    let name = if name == "f" { "force" } else { name };
    let named = |name: &str| all().find(|flag| flag.name == name);
    named(name).or_else(|| {
        let name = name.strip_prefix("experimental-")?;
        named(name).filter(|flag| flag.was_experimental())
    })
}

/// Every flag.
pub fn all() -> impl Iterator<Item = &'static Flag> {
    SECTIONS.iter().flat_map(|section| section.flags)
}

const fn flag(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    status: Status,
    help: &'static str,
) -> Flag {
    Flag {
        name,
        kind,
        default,
        status,
        help,
    }
}

use Kind::{Address, Bool, Duration, Int, OneOf, Text, Uint, Urls};
use Status::{DefaultOnly, Dropped, Inert, Works};

/// The flags, in the order of the help.
#[rustfmt::skip]
pub const SECTIONS: &[Section] = &[
    Section { title: "Questions", flags: &[
        flag("version", Bool, "false", Works, "Print the version and exit."),
        flag("help", Bool, "false", Works, "Print this text and exit."),
        flag("h", Bool, "false", Works, "Print this text and exit."),
    ]},
    Section { title: "Member", flags: &[
        flag("name", Text, "default", Works, "Name of this member, for people."),
        flag("data-dir", Text, "", Works, "Directory of all data; empty means NAME.etcd."),
        flag("listen-peer-urls", Urls, "http://localhost:2380", Works, "URLs to listen on for other members."),
        flag("listen-client-urls", Urls, "http://localhost:2379", Works, "URLs to listen on for clients."),
        flag("snapshot-count", Uint, "10000", Works, "Applied entries from one snapshot to the next."),
        flag("snapshot-catchup-entries", Uint, "5000", Works, "Log entries kept behind a snapshot for members that lag."),
        flag("heartbeat-interval", Uint, "100", Works, "Milliseconds between heartbeats of a leader."),
        flag("election-timeout", Uint, "1000", Works, "Milliseconds without a leader before an election."),
        flag("quota-backend-bytes", Int, "0", Works, "Refuse writes beyond this many stored bytes; 0 means 2 GiB, less means no quota."),
        flag("max-request-bytes", Uint, "1572864", Works, "Largest request, in bytes."),
        flag("max-txn-ops", Uint, "128", Works, "Operations allowed in one transaction."),
        flag("max-concurrent-streams", Uint, "4294967295", Works, "Requests under way on one client connection."),
        flag("grpc-keepalive-interval", Duration, "2h", Works, "Ping a silent client connection this often; 0 means never."),
        flag("grpc-keepalive-timeout", Duration, "20s", Works, "Close a connection that leaves a ping unanswered for this long."),
        flag("grpc-keepalive-min-time", Duration, "5s", Inert, "Clients are not punished for pinging often."),
        flag("watch-progress-notify-interval", Duration, "10m", Works, "How often an idle watcher that asked for it is told the revision."),
        flag("socket-reuse-port", Bool, "false", Works, "Set SO_REUSEPORT on listening sockets."),
        flag("socket-reuse-address", Bool, "false", Inert, "SO_REUSEADDR is always set."),
        flag("store-cache-bytes", Uint, "33554432", Works, "Memory for cached blocks of the store. (detcd)"),
        flag("worker-threads", Uint, "0", Works, "Threads that serve requests; 0 means one for each core. (detcd)"),
        flag("etcd-version", Text, "3.7.0", Works, "Version of etcd that clients are told. (detcd)"),
        flag("strict-env", Bool, "false", Works, "Refuse a variable that a flag shadows, instead of warning. (detcd)"),
        flag("wal-dir", Text, "", DefaultOnly, "Directory of the log apart from the data."),
        flag("initial-election-tick-advance", Bool, "true", Inert, "Elections at the start need no help."),
        flag("max-snapshots", Uint, "5", Inert, "Snapshots are not kept as files."),
        flag("max-wals", Uint, "5", Inert, "The log is purged by snapshots."),
        flag("memory-mlock", Bool, "false", DefaultOnly, "Lock the process in memory."),
        flag("backend-bbolt-freelist-type", OneOf(&["map", "array"]), "map", Inert, "The store has no free list."),
        flag("backend-batch-interval", Duration, "0s", Inert, "The store has no batch interval."),
        flag("backend-batch-limit", Int, "0", Inert, "The store has no batch limit."),
        flag("enable-grpc-gateway", Bool, "true", Works, "Serve JSON over HTTP."),
        flag("raft-read-timeout", Duration, "5s", Inert, "Peer connections choose their own timeouts."),
        flag("raft-write-timeout", Duration, "5s", Inert, "Peer connections choose their own timeouts."),
        flag("feature-gates", Text, "", DefaultOnly, "Switches of experimental features."),
        flag("listen-client-http-urls", Urls, "", DefaultOnly, "URLs for HTTP clients apart from gRPC."),
    ]},
    Section { title: "Clustering", flags: &[
        flag("initial-advertise-peer-urls", Urls, "http://localhost:2380", Works, "URLs of this member that other members are told."),
        flag("initial-cluster", Text, "default=http://localhost:2380", Works, "Members of a new cluster: NAME=URL, separated by commas."),
        flag("initial-cluster-state", OneOf(&["new", "existing"]), "new", Works, "Whether the cluster is new or exists."),
        flag("initial-cluster-token", Text, "etcd-cluster", Works, "Keeps clusters of equal members apart."),
        flag("advertise-client-urls", Urls, "http://localhost:2379", Works, "URLs of this member that clients are told."),
        flag("pre-vote", Bool, "true", DefaultOnly, "Ask before starting an election."),
        flag("strict-reconfig-check", Bool, "true", Works, "Refuse changes of membership that cost the quorum."),
        flag("discovery", Text, "", Works, "URL in the v2 tree of another cluster, where the members of this one find each other."),
        flag("discovery-token", Text, "", DefaultOnly, "Discovery token in a v3 cluster."),
        flag("discovery-endpoints", Text, "", DefaultOnly, "Endpoints of the discovery cluster."),
        flag("discovery-dial-timeout", Duration, "2s", Inert, "Discovery is off."),
        flag("discovery-request-timeout", Duration, "5s", Inert, "Discovery is off."),
        flag("discovery-keepalive-time", Duration, "2s", Inert, "Discovery is off."),
        flag("discovery-keepalive-timeout", Duration, "6s", Inert, "Discovery is off."),
        flag("discovery-insecure-transport", Bool, "true", Inert, "Discovery is off."),
        flag("discovery-insecure-skip-tls-verify", Bool, "false", Inert, "Discovery is off."),
        flag("discovery-cert", Text, "", DefaultOnly, "Certificate for discovery."),
        flag("discovery-key", Text, "", DefaultOnly, "Key for discovery."),
        flag("discovery-cacert", Text, "", DefaultOnly, "Authorities for discovery."),
        flag("discovery-user", Text, "", DefaultOnly, "User for discovery."),
        flag("discovery-password", Text, "", DefaultOnly, "Password for discovery."),
        flag("discovery-fallback", OneOf(&["exit", "proxy"]), "proxy", Works, "What a surplus member of a discovery does."),
        flag("discovery-proxy", Text, "", Works, "HTTP proxy on the way to the discovery URL."),
        flag("discovery-srv", Text, "", Works, "Domain whose SRV records name the members."),
        flag("discovery-srv-name", Text, "", Works, "Suffix of the SRV records' names."),
        flag("discovery-srv-server", Text, "", Works, "ADDRESS:PORT of the DNS server to ask; empty means the system's. (detcd)"),
        flag("auto-compaction-mode", OneOf(&["periodic", "revision"]), "periodic", Inert, "How the retention of history counts."),
        flag("auto-compaction-retention", Text, "0", DefaultOnly, "History kept by automatic compaction; 0 means all."),
        flag("v2-deprecation", OneOf(&["not-yet", "write-only", "write-only-drop-data", "gone"]), "write-only", Inert, "There is no v2 data."),
        flag("max-learners", Uint, "1", DefaultOnly, "Learners allowed at a time."),
        flag("force-new-cluster", Bool, "false", DefaultOnly, "Make a cluster of this member alone out of its data."),
        flag("unsafe-no-fsync", Bool, "false", DefaultOnly, "Acknowledge what is not durable."),
    ]},
    Section { title: "Security", flags: &[
        flag("cert-file", Text, "", Works, "Certificate for clients."),
        flag("key-file", Text, "", Works, "Key for clients."),
        flag("client-cert-auth", Bool, "false", Works, "Ask clients for certificates."),
        flag("client-cert-file", Text, "", Inert, "This member does not call itself."),
        flag("client-key-file", Text, "", Inert, "This member does not call itself."),
        flag("client-crl-file", Text, "", Works, "Revoked certificates of clients."),
        flag("client-cert-allowed-hostname", Text, "", Works, "Hosts of which clients' certificates must name one."),
        flag("trusted-ca-file", Text, "", Works, "Authorities for clients."),
        flag("auto-tls", Bool, "false", Works, "Serve clients with a certificate made at the start."),
        flag("peer-cert-file", Text, "", Works, "Certificate for members."),
        flag("peer-key-file", Text, "", Works, "Key for members."),
        flag("peer-client-cert-auth", Bool, "false", Works, "Ask members for certificates."),
        flag("peer-client-cert-file", Text, "", Works, "Certificate for calls to members."),
        flag("peer-client-key-file", Text, "", Works, "Key for calls to members."),
        flag("peer-trusted-ca-file", Text, "", Works, "Authorities for members."),
        flag("peer-cert-allowed-cn", Text, "", Works, "Common names of which members' certificates must carry one."),
        flag("peer-cert-allowed-hostname", Text, "", Works, "Hosts of which members' certificates must name one."),
        flag("peer-auto-tls", Bool, "false", Works, "Serve members with a certificate made at the start."),
        flag("peer-crl-file", Text, "", Works, "Revoked certificates of members."),
        flag("peer-skip-client-san-verification", Bool, "false", Works, "Trust members whatever address they call from."),
        flag("self-signed-cert-validity", Uint, "1", Works, "Years for which --auto-tls and --peer-auto-tls make certificates."),
        flag("cipher-suites", Text, "", Works, "Suites of TLS 1.2 by Go's names, separated by commas."),
        flag("tls-min-version", Text, "TLS1.2", Works, "Oldest version of TLS: TLS1.2 or TLS1.3."),
        flag("tls-max-version", Text, "", Works, "Newest version of TLS: TLS1.2 or TLS1.3."),
        flag("cors", Text, "*", Works, "Origins that browsers may call from, separated by commas."),
        flag("host-whitelist", Text, "*", Works, "Host names that HTTP requests without TLS may use, separated by commas."),
    ]},
    Section { title: "Auth", flags: &[
        flag("auth-token", Text, "simple", Works, "Kind of tokens: simple, or jwt,sign-method=METHOD,pub-key=FILE,priv-key=FILE,ttl=DURATION."),
        flag("bcrypt-cost", Uint, "10", Works, "Cost of hashing a password, from 4 to 31: each step doubles the time."),
        flag("auth-token-ttl", Uint, "300", Works, "Seconds for which a simple token lives that nobody uses."),
    ]},
    Section { title: "Logging and monitoring", flags: &[
        flag("logger", OneOf(&["zap"]), "zap", Inert, "The shape of the log is zap's."),
        flag("log-level", OneOf(&["debug", "info", "warn", "error", "dpanic", "panic", "fatal"]), "info", Works, "Least level of the log."),
        flag("log-format", OneOf(&["json", "console", "capnslog"]), "json", Works, "Shape of the log's lines; capnslog is that of etcd before 3.5."),
        flag("log-outputs", Text, "default", Works, "Where the log goes: stderr (default), stdout, or files, separated by commas."),
        flag("enable-log-rotation", Bool, "false", DefaultOnly, "Rotate log files."),
        flag("log-rotation-config-json", Text, "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, \"localtime\": false, \"compress\": false}", Inert, "Rotation is off."),
        flag("metrics", OneOf(&["basic", "extensive"]), "basic", Works, "Whether /metrics has a histogram of each method's latency."),
        flag("listen-metrics-urls", Urls, "", DefaultOnly, "URLs for metrics and health alone."),
        flag("enable-pprof", Bool, "false", DefaultOnly, "Serve profiles."),
        flag("warning-apply-duration", Duration, "100ms", Inert, "Slow applies show in the metrics."),
        flag("warning-unary-request-duration", Duration, "300ms", Inert, "Slow requests show in the metrics."),
        flag("enable-distributed-tracing", Bool, "false", DefaultOnly, "Send traces."),
        flag("distributed-tracing-address", Text, "localhost:4317", Inert, "Tracing is off."),
        flag("distributed-tracing-service-name", Text, "etcd", Inert, "Tracing is off."),
        flag("distributed-tracing-instance-id", Text, "", Inert, "Tracing is off."),
        flag("distributed-tracing-sampling-rate", Uint, "0", Inert, "Tracing is off."),
    ]},
    Section { title: "Maintenance", flags: &[
        flag("initial-corrupt-check", Bool, "false", DefaultOnly, "Compare hashes before serving."),
        flag("corrupt-check-time", Duration, "0s", DefaultOnly, "Compare hashes this often."),
        flag("compact-hash-check-enabled", Bool, "false", DefaultOnly, "Compare hashes at compactions."),
        flag("compact-hash-check-time", Duration, "1m", Inert, "Hashes are not compared at compactions."),
        flag("compaction-batch-limit", Uint, "1000", Inert, "Compaction chooses its steps."),
        flag("compaction-sleep-interval", Duration, "0s", Inert, "Compaction runs beside the traffic."),
        flag("bootstrap-defrag-threshold-megabytes", Uint, "0", Inert, "The store needs no defragmentation."),
        flag("downgrade-check-time", Duration, "5s", Inert, "There are no downgrades."),
        flag("enable-lease-checkpoint", Bool, "false", DefaultOnly, "Keep leases' remaining time across leaders."),
        flag("enable-lease-checkpoint-persist", Bool, "false", DefaultOnly, "Store leases' remaining time."),
        flag("stop-grpc-service-on-defrag", Bool, "false", Inert, "The store needs no defragmentation."),
        flag("txn-mode-write-with-shared-buffer", Bool, "true", Inert, "Reads of a transaction copy nothing."),
    ]},
    Section { title: "Of etcd 0.2 to 0.4", flags: &[
        flag("addr", Address, "127.0.0.1:4001", Works, "Address that clients are told; listened on, too, unless --bind-addr is given."),
        flag("bind-addr", Address, "", Works, "Address to listen on for clients; a host alone takes the port of --addr."),
        flag("peer-addr", Address, "127.0.0.1:7001", Works, "Address that other members are told; listened on, too, unless --peer-bind-addr is given."),
        flag("peer-bind-addr", Address, "", Works, "Address to listen on for other members; a host alone takes the port of --peer-addr."),
        flag("peers", Text, "", Works, "Members that are asked to admit this one: HOST:PORT, separated by commas."),
        flag("peers-file", Text, "", Works, "File with more of them, separated by commas or line feeds."),
        flag("max-retry-attempts", Uint, "3", Works, "How often the peers are asked."),
        flag("retry-interval", Uint, "10", Works, "Seconds before the peers are asked again."),
        flag("force", Bool, "false", Works, "Let flags win over what the data-dir has kept of earlier ones; also -f."),
        flag("cluster-active-size", Text, "", Dropped, "Size of the quorum's part of a cluster."),
        flag("cluster-remove-delay", Text, "", Dropped, "Seconds until a silent member is removed."),
        flag("cluster-sync-interval", Text, "", Dropped, "Seconds between checks of the cluster's size."),
        flag("config", Text, "", Dropped, "TOML file with the values of flags."),
        flag("max-cluster-size", Text, "", Dropped, "Members allowed in a cluster."),
        flag("max-result-buffer", Text, "", Dropped, "Events kept for watchers."),
        flag("peer-election-timeout", Text, "", Dropped, "Milliseconds without a leader before an election."),
        flag("peer-heartbeat-interval", Text, "", Dropped, "Milliseconds between heartbeats of a leader."),
        flag("snapshot", Bool, "false", Dropped, "Make snapshots."),
        flag("v", Bool, "false", Dropped, "Log more."),
        flag("vv", Bool, "false", Dropped, "Log much more."),
    ]},
    Section { title: "Of etcd 3.4 and before", flags: &[
        flag("config-file", Text, "", Works, "YAML file with the values of flags; other flags and variables are then left out."),
        flag("enable-v2", Bool, "true", Works, "Serve the v2 API."),
        flag("v2-compat", OneOf(&["3.4", "0.2"]), "3.4", Works, "Whose v2 API is served: etcd 3.4's, or in shape, texts and indexes that of etcd 0.2. (detcd)"),
        flag("proxy", OneOf(&["off", "readonly", "on"]), "off", Works, "Serve as a proxy of the v2 API, and be no member."),
        flag("proxy-failure-wait", Uint, "5000", Works, "Milliseconds for which a proxy leaves out a member that did not answer."),
        flag("proxy-refresh-interval", Uint, "30000", Works, "Milliseconds until a proxy asks again who the members are."),
        flag("proxy-dial-timeout", Uint, "1000", Works, "Milliseconds that a proxy's connection to a member may take."),
        flag("proxy-write-timeout", Uint, "5000", Works, "Milliseconds that a member may leave what a proxy sends untaken; 0 means no limit."),
        flag("proxy-read-timeout", Uint, "0", Works, "Milliseconds that a proxy waits for more of a member's answer; 0 means no limit."),
        flag("debug", Bool, "false", Works, "Use --log-level=debug."),
        flag("log-package-levels", Text, "", DefaultOnly, "Levels of single packages."),
    ]},
];
