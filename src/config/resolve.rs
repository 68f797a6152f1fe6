//! From the texts of the flags to a [`Config`], with etcd's checks.

use super::addresses;
use super::auth;
use super::flags::{self, Status};
use super::parse::{self, Given};
use super::tls;
use super::url::{self, Url};
use super::{
    ClusterState, Config, Discovery, DnsDiscovery, LogConfig, LogFormat, LogLevel, LogOutput,
    Notice, Peers, ProxyConfig, ProxyMode, UsageError,
};
use detcd_core::go::parse_bool;
use detcd_core::v2::Dialect;
use std::path::PathBuf;
use std::time::Duration;

const QUOTA_BYTES_DEFAULT: u64 = 2 * 1024 * 1024 * 1024;
const QUOTA_BYTES_ADVISED_MAX: u64 = 8 * 1024 * 1024 * 1024;
const REQUEST_BYTES_ADVISED_MAX: u64 = 10 * 1024 * 1024;
/// Nothing larger is ever framed: lengths on the wire and in the log have 32 bits.
const REQUEST_BYTES_MAX: u64 = 1 << 30;
const ELECTION_MS_MAX: u64 = 50_000;

pub(super) fn resolve(given: &Given, notices: &mut Vec<Notice>) -> Result<Config, UsageError> {
    let log = log(given);
    let given = &addresses::translate(given)?;
    check_discovery(given)?;
    parse::check_supported(given)?;
    notices.extend(dropped(given));
    let mut listen_client_urls = listen_urls(given, "listen-client-urls")?;
    // As in etcd, an address that stands twice is listened on once, for both schemes if it has two.
    // (A peer's fails to bind.)
    listen_client_urls.dedup_by(|a, b| a.address == b.address && a.is_tls() == b.is_tls());
    let listen_peer_urls = listen_urls(given, "listen-peer-urls")?;
    let (heartbeat, election_timeout) = timing(given)?;
    let (discovery, proxy) = (discovery(given)?, proxy(given));
    let may_be_proxy =
        proxy.mode != ProxyMode::Off || discovery.as_ref().is_some_and(|it| it.falls_back);
    let listens = given.is_set("listen-client-urls");
    if listens && !given.is_set("advertise-client-urls") && !may_be_proxy {
        return Err(refused(
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ));
    }
    let name = given.text("name").to_owned();
    let initial_advertise_peer_urls = urls(given, "initial-advertise-peer-urls")?;
    let initial_cluster = match given.is_set("initial-cluster") {
        true => given.text("initial-cluster").to_owned(),
        false => own_cluster(&name, &initial_advertise_peer_urls),
    };
    let data_dir_is_default = given.text("data-dir").is_empty();
    let data_dir = match data_dir_is_default {
        true => PathBuf::from(format!("{name}.etcd")),
        false => PathBuf::from(given.text("data-dir")),
    };
    let snapshot_count = at_least_one(given, "snapshot-count")?;
    Ok(Config {
        data_dir,
        data_dir_is_default,
        listen_peer_urls,
        listen_client_urls,
        initial_advertise_peer_urls,
        advertise_client_urls: urls(given, "advertise-client-urls")?,
        initial_cluster,
        initial_cluster_given: given.is_set("initial-cluster"),
        initial_cluster_token: match &discovery {
            Some(discovery) => discovery.url.clone(),
            None => given.text("initial-cluster-token").to_owned(),
        },
        discovery,
        dns: dns(given)?,
        peers: peers(given)?,
        force: boolean(given, "force"),
        proxy,
        initial_cluster_state: match given.text("initial-cluster-state") {
            "existing" => ClusterState::Existing,
            _ => ClusterState::New,
        },
        heartbeat,
        election_timeout,
        snapshot_count,
        snapshot_catchup_entries: uint(given, "snapshot-catchup-entries"),
        is_log_length_given: given.is_set("snapshot-count")
            || given.is_set("snapshot-catchup-entries"),
        quota_backend_bytes: quota(given, notices),
        max_request_bytes: request_bytes(given, notices)?,
        max_txn_ops: usize::try_from(at_least_one(given, "max-txn-ops")?).unwrap_or(usize::MAX),
        max_concurrent_streams: u32::try_from(at_least_one(given, "max-concurrent-streams")?)
            .unwrap_or(u32::MAX),
        keepalive_interval: Some(duration(given, "grpc-keepalive-interval"))
            .filter(|interval| !interval.is_zero()),
        keepalive_timeout: duration(given, "grpc-keepalive-timeout"),
        watch_progress_interval: positive_duration(given, "watch-progress-notify-interval")?,
        socket_reuse_port: boolean(given, "socket-reuse-port"),
        store_cache_bytes: uint(given, "store-cache-bytes"),
        worker_threads: usize::try_from(uint(given, "worker-threads")).unwrap_or(usize::MAX),
        etcd_version: etcd_version(given)?,
        strict_reconfig_check: boolean(given, "strict-reconfig-check"),
        cors: given
            .text("cors")
            .split(',')
            .map(|origin| origin.trim().to_owned())
            .collect(),
        host_whitelist: host_whitelist(given),
        enable_grpc_gateway: boolean(given, "enable-grpc-gateway"),
        enable_v2: boolean(given, "enable-v2"),
        v2_dialect: match given.text("v2-compat") {
            "0.2" => Dialect::Etcd02,
            _ => Dialect::Etcd34,
        },
        extensive_metrics: given.text("metrics") == "extensive",
        auth: auth::resolve(given, notices)?,
        tls: tls::resolve(given, notices)?,
        log,
        name,
    })
}

fn refused(text: impl Into<String>) -> UsageError {
    UsageError::Verify(text.into())
}

fn dropped(given: &Given) -> impl Iterator<Item = Notice> {
    let dropped = flags::all().filter(|flag| flag.status == Status::Dropped);
    dropped
        .filter(|flag| given.is_set(flag.name))
        .map(|flag| Notice::DroppedFlag(flag.name))
}

/// Empty if any host will do.
fn host_whitelist(given: &Given) -> Vec<String> {
    let hosts = given.text("host-whitelist").split(',').map(str::trim);
    let hosts: Vec<String> = hosts.map(str::to_owned).collect();
    let takes_any = hosts.iter().any(|host| host == "*") || hosts == [""];
    if takes_any { Vec::new() } else { hosts }
}

fn check_discovery(given: &Given) -> Result<(), UsageError> {
    let ways = ["initial-cluster", "discovery", "discovery-srv"];
    let has_peers = given.is_set("peers") || given.is_set("peers-file");
    match ways.iter().filter(|way| given.is_set(way)).count() {
        1 if has_peers => Err(refused(
            "--peers asks others for the cluster: leave out \"initial-cluster\", \"discovery\" and \
             \"discovery-srv\"",
        )),
        0 | 1 => Ok(()),
        _ => Err(refused(
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \
             \"discovery\" or \"discovery-srv\"",
        )),
    }
}

fn discovery(given: &Given) -> Result<Option<Discovery>, UsageError> {
    let url = given.text("discovery");
    if url.is_empty() {
        return Ok(None);
    }
    let proxy = Some(given.text("discovery-proxy")).filter(|proxy| !proxy.is_empty());
    for (name, url) in [("discovery", Some(url)), ("discovery-proxy", proxy)] {
        let Some(url) = url else { continue };
        if url.starts_with("https://") {
            return Err(refused(format!(
                "--{name}={url:?} needs TLS, which this version of detcd does not speak: give a URL \
                 with http://"
            )));
        }
        let host = url.strip_prefix("http://").unwrap_or_default();
        if host.split('/').next().unwrap_or_default().is_empty() {
            return Err(refused(format!(
                "--{name}={url:?} is not a URL: http://HOST:PORT/PATH is wanted"
            )));
        }
    }
    Ok(Some(Discovery {
        url: url.to_owned(),
        proxy: proxy.map(str::to_owned),
        falls_back: given.text("discovery-fallback") == "proxy",
    }))
}

fn dns(given: &Given) -> Result<Option<DnsDiscovery>, UsageError> {
    let server = match given.text("discovery-srv-server") {
        "" => None,
        text => Some(text.parse().map_err(|_| {
            refused(format!(
                "--discovery-srv-server={text:?} is not an address: ADDRESS:PORT is wanted"
            ))
        })?),
    };
    let domain = given.text("discovery-srv");
    Ok((!domain.is_empty()).then(|| DnsDiscovery {
        domain: domain.to_owned(),
        name: given.text("discovery-srv-name").to_owned(),
        server,
    }))
}

/// Of `-peers`, and of the file that `-peers-file` names: addresses, or URLs, with commas or line
/// feeds between.
fn peers(given: &Given) -> Result<Option<Peers>, UsageError> {
    let mut text = given.text("peers").to_owned();
    let file = given.text("peers-file");
    if !file.is_empty() {
        let read = std::fs::read_to_string(file);
        let read = read.map_err(|error| refused(format!("--peers-file {file}: {error}")))?;
        text = format!("{text},{read}");
    }
    let items = text.split([',', '\n']).map(str::trim);
    let mut urls = Vec::new();
    for item in items.filter(|item| !item.is_empty()) {
        let url = match item.contains("://") {
            true => item.to_owned(),
            false => format!("http://{item}"),
        };
        let url = Url::parse(&url);
        urls.push(url.map_err(|error| refused(format!("--peers: {error}")))?);
    }
    let is_given = given.is_set("peers") || given.is_set("peers-file");
    if is_given && urls.is_empty() {
        return Err(refused(
            "--peers and --peers-file name nobody: HOST:PORT is wanted",
        ));
    }
    Ok(is_given.then(|| Peers {
        urls,
        attempts: uint(given, "max-retry-attempts"),
        pause: Duration::from_secs(uint(given, "retry-interval")),
    }))
}

fn proxy(given: &Given) -> ProxyConfig {
    let millis = |name: &str| Duration::from_millis(uint(given, name));
    let limit = |name: &str| Some(millis(name)).filter(|limit| !limit.is_zero());
    ProxyConfig {
        mode: match given.text("proxy") {
            "on" => ProxyMode::On,
            "readonly" => ProxyMode::Readonly,
            _ => ProxyMode::Off,
        },
        failure_wait: millis("proxy-failure-wait"),
        refresh_interval: millis("proxy-refresh-interval"),
        dial_timeout: millis("proxy-dial-timeout"),
        write_timeout: limit("proxy-write-timeout"),
        read_timeout: limit("proxy-read-timeout"),
    }
}

fn timing(given: &Given) -> Result<(Duration, Duration), UsageError> {
    let heartbeat_ms = uint(given, "heartbeat-interval");
    let election_ms = uint(given, "election-timeout");
    if heartbeat_ms == 0 {
        return Err(refused("--heartbeat-interval must be >0 (set to 0ms)"));
    }
    if election_ms == 0 {
        return Err(refused("--election-timeout must be >0 (set to 0ms)"));
    }
    if election_ms / 5 < heartbeat_ms {
        return Err(refused(format!(
            "--election-timeout[{election_ms}ms] should be at least as 5 times as \
             --heartbeat-interval[{heartbeat_ms}ms]"
        )));
    }
    if election_ms > ELECTION_MS_MAX {
        return Err(refused(format!(
            "--election-timeout[{election_ms}ms] is too long, and should be set less than \
             {ELECTION_MS_MAX}ms"
        )));
    }
    Ok((
        Duration::from_millis(heartbeat_ms),
        Duration::from_millis(election_ms),
    ))
}

fn quota(given: &Given, notices: &mut Vec<Notice>) -> Option<u64> {
    let bytes = given
        .text("quota-backend-bytes")
        .parse::<i64>()
        .unwrap_or(0);
    match u64::try_from(bytes) {
        Err(_) => None,
        Ok(0) => Some(QUOTA_BYTES_DEFAULT),
        Ok(bytes) => {
            if bytes > QUOTA_BYTES_ADVISED_MAX {
                notices.push(Notice::Advice(format!(
                    "quota exceeds the maximum value: {bytes} bytes given, at most \
                     {QUOTA_BYTES_ADVISED_MAX} advised"
                )));
            }
            Some(bytes)
        }
    }
}

fn request_bytes(given: &Given, notices: &mut Vec<Notice>) -> Result<usize, UsageError> {
    let bytes = at_least_one(given, "max-request-bytes")?;
    if bytes > REQUEST_BYTES_MAX {
        return Err(refused(format!(
            "--max-request-bytes[{bytes}] is too large, and must not exceed {REQUEST_BYTES_MAX}"
        )));
    }
    if bytes > REQUEST_BYTES_ADVISED_MAX {
        notices.push(Notice::Advice(format!(
            "exceeded recommended request limit: {bytes} bytes given, at most \
             {REQUEST_BYTES_ADVISED_MAX} advised"
        )));
    }
    Ok(bytes as usize)
}

/// Clients compare it as a version (Kubernetes turns features on by it), so it must be one.
fn etcd_version(given: &Given) -> Result<String, UsageError> {
    let text = given.text("etcd-version");
    let numbers: Vec<&str> = text.split('.').collect();
    let is_version = numbers.len() == 3 && numbers.iter().all(|part| part.parse::<u32>().is_ok());
    match is_version {
        true => Ok(text.to_owned()),
        false => Err(refused(format!(
            "--etcd-version={text:?} is not a version: three numbers with dots between are wanted"
        ))),
    }
}

pub(super) fn log(given: &Given) -> LogConfig {
    let is_old = addresses::is_used(given);
    let debug = parse_bool(given.text("debug")) == Some(true);
    LogConfig {
        level: match given.text("log-level") {
            _ if debug => LogLevel::Debug,
            "debug" => LogLevel::Debug,
            "info" => LogLevel::Info,
            "warn" => LogLevel::Warn,
            _ => LogLevel::Error,
        },
        format: match given.text("log-format") {
            // Whoever starts a member as in 2013 finds the log of then.
            _ if is_old && !given.is_set("log-format") => LogFormat::Capnslog02,
            "capnslog" if is_old => LogFormat::Capnslog02,
            "capnslog" => LogFormat::Capnslog,
            "console" => LogFormat::Console,
            _ => LogFormat::Json,
        },
        outputs: given
            .text("log-outputs")
            .split(',')
            .map(|output| match output.trim() {
                "default" | "stderr" | "" => LogOutput::Stderr,
                "stdout" => LogOutput::Stdout,
                path => LogOutput::File(PathBuf::from(path)),
            })
            .collect(),
    }
}

/// A cluster of this member alone.
fn own_cluster(name: &str, peer_urls: &[Url]) -> String {
    let members: Vec<String> = peer_urls
        .iter()
        .map(|url| format!("{name}={url}"))
        .collect();
    members.join(",")
}

fn urls(given: &Given, name: &str) -> Result<Vec<Url>, UsageError> {
    match given.text(name) {
        "" => Ok(Vec::new()),
        text => url::parse_list(text).map_err(|error| refused(error.to_string())),
    }
}

/// Listeners bind to addresses: a name other than localhost may mean several, or another machine.
fn listen_urls(given: &Given, name: &str) -> Result<Vec<Url>, UsageError> {
    let urls = urls(given, name)?;
    for url in urls.iter().filter(|url| !url.is_unix()) {
        let (host, _) = url.host_port();
        let binds = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok();
        if !binds {
            return Err(refused(format!("expected IP in URL for binding ({url})")));
        }
    }
    Ok(urls)
}

fn boolean(given: &Given, name: &str) -> bool {
    parse_bool(given.text(name)) == Some(true)
}

/// The number of a flag whose text was checked when it was parsed.
pub(super) fn uint(given: &Given, name: &str) -> u64 {
    given
        .text(name)
        .parse()
        .expect("checked when it was parsed")
}

fn at_least_one(given: &Given, name: &str) -> Result<u64, UsageError> {
    match uint(given, name) {
        0 => Err(refused(format!("--{name} must be >0 (set to 0)"))),
        number => Ok(number),
    }
}

fn duration(given: &Given, name: &str) -> Duration {
    let ms = parse::parse_duration_ms(given.text(name)).expect("checked when it was parsed");
    Duration::from_millis(ms)
}

fn positive_duration(given: &Given, name: &str) -> Result<Duration, UsageError> {
    match duration(given, name) {
        Duration::ZERO => Err(refused(format!("--{name} must be >0 (set to 0s)"))),
        duration => Ok(duration),
    }
}
