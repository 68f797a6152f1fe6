//! Flags and environment to one [`Config`] value: parse, resolve, then start.
//!
//! [`read`] is a function of the arguments, the variables and the file that `--config-file` names. What depends on the data-dir
//! (whether a cluster is to be bootstrapped, and of whom) is a second step, [`Config::bootstrap`],
//! which a member that has started before never takes: a restart needs no cluster flags.

mod addresses;
mod auth;
mod bootstrap;
mod check;
#[cfg(test)]
mod document;
mod file;
pub mod flags;
mod help;
mod nearest;
mod parse;
mod print;
mod resolve;
#[cfg(test)]
mod tests;
mod tls;
pub mod url;
mod yaml;

pub use auth::{AuthConfig, JwtConfig, TokenConfig};
pub use bootstrap::{Bootstrap, BootstrapError};
pub use check::{CheckedFile, check_file};
pub use help::{CONFIG_USAGE, VersionInfo, help, usage, version};
pub use parse::Given;
pub use print::print;
pub use tls::{PairPaths, PortTls, TlsConfig};

use detcd_core::go::parse_bool;
use detcd_core::v2::Dialect;
use serde::Serialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;
use url::Url;

/// What a member is told to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub name: String,
    pub data_dir: PathBuf,
    /// Whether `data_dir` is the default that no flag gave.
    pub data_dir_is_default: bool,
    pub listen_peer_urls: Vec<Url>,
    pub listen_client_urls: Vec<Url>,
    pub initial_advertise_peer_urls: Vec<Url>,
    pub advertise_client_urls: Vec<Url>,
    pub initial_cluster: String,
    /// Whether `initial_cluster` was given, and not made of the name.
    pub initial_cluster_given: bool,
    pub initial_cluster_token: String,
    /// Where members find each other that do not know of each other.
    pub discovery: Option<Discovery>,
    pub dns: Option<DnsDiscovery>,
    /// Who is asked to admit this member.
    pub peers: Option<Peers>,
    /// Whether the flags win over what the data-dir has kept of earlier ones.
    pub force: bool,
    pub proxy: ProxyConfig,
    pub initial_cluster_state: ClusterState,
    pub heartbeat: Duration,
    pub election_timeout: Duration,
    pub snapshot_count: u64,
    pub snapshot_catchup_entries: u64,
    /// Whether one of the two was given.
    pub is_log_length_given: bool,
    /// `None`: no quota.
    pub quota_backend_bytes: Option<u64>,
    pub max_request_bytes: usize,
    pub max_txn_ops: usize,
    pub max_concurrent_streams: u32,
    /// `None`: silent connections are not pinged.
    pub keepalive_interval: Option<Duration>,
    pub keepalive_timeout: Duration,
    pub watch_progress_interval: Duration,
    pub socket_reuse_port: bool,
    pub store_cache_bytes: u64,
    /// Zero: one for each core.
    pub worker_threads: usize,
    /// The version of etcd that clients are told.
    pub etcd_version: String,
    /// Whether changes of the membership that would cost the quorum are refused.
    pub strict_reconfig_check: bool,
    pub cors: Vec<String>,
    /// Names by which requests without TLS may call this member; empty for any.
    pub host_whitelist: Vec<String>,
    pub enable_grpc_gateway: bool,
    pub enable_v2: bool,
    /// Whose v2 API is served.
    pub v2_dialect: Dialect,
    pub extensive_metrics: bool,
    pub auth: AuthConfig,
    pub tls: TlsConfig,
    pub log: LogConfig,
}

/// Where members find each other that do not know of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Where they register.
    pub url: String,
    /// The HTTP proxy on the way there.
    pub proxy: Option<String>,
    /// Whether a member that is left over becomes a proxy.
    pub falls_back: bool,
}

/// Whose SRV records name the members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsDiscovery {
    pub domain: String,
    /// The end of the records' names.
    pub name: String,
    /// `None`: the system's.
    pub server: Option<SocketAddr>,
}

/// Who is asked to admit a member to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    pub urls: Vec<Url>,
    /// How often all of them are asked, and the pause after each time.
    pub attempts: u64,
    pub pause: Duration,
}

/// How a proxy goes about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyConfig {
    pub mode: ProxyMode,
    pub failure_wait: Duration,
    pub refresh_interval: Duration,
    pub dial_timeout: Duration,
    /// `None`: no limit.
    pub write_timeout: Option<Duration>,
    pub read_timeout: Option<Duration>,
}

/// Whether the process is a proxy, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyMode {
    Off,
    Readonly,
    On,
}

/// Whether the cluster of the flags is to be made or to be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    New,
    Existing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub level: LogLevel,
    pub format: LogFormat,
    pub outputs: Vec<LogOutput>,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            level: LogLevel::Info,
            format: LogFormat::Json,
            outputs: vec![LogOutput::Stderr],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Console,
    /// That of etcd 2 to 3.4.
    Capnslog,
    /// That of etcd 0.2.
    Capnslog02,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    Stderr,
    Stdout,
    File(PathBuf),
}

/// What the arguments ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Serve(Box<Config>, Vec<Notice>),
    Version,
    Help,
}

/// Something about the flags that the log should say once there is a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Notice {
    UsedVariable(String, String),
    ShadowedVariable(String),
    UnknownVariable(String),
    /// A flag that etcd 2 did not know any more.
    DroppedFlag(&'static str),
    /// A flag, or its variable, that a configuration file leaves out.
    LeftOut(String),
    /// etcd's advice about a value that is allowed and unwise.
    Advice(String),
}

/// Why the arguments make no configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UsageError {
    /// The arguments cannot be read: etcd prints its usage and exits with 2.
    #[error("{0}")]
    Syntax(String),
    /// They can be read and are refused: etcd logs `failed to verify flags` and exits with 1.
    #[error("{0}")]
    Verify(String),
}

/// Reads arguments (without the program's name), variables and the file that they name.
pub fn read(args: &[String], variables: &[(String, String)]) -> Result<Request, UsageError> {
    let given = parse::arguments(args)?;
    if ["help", "h"]
        .iter()
        .any(|name| parse_bool(given.text(name)) == Some(true))
    {
        return Ok(Request::Help);
    }
    if parse_bool(given.text("version")) == Some(true) {
        return Ok(Request::Version);
    }
    let (given, mut notices) = complete(given, variables)?;
    let config = resolve::resolve(&given, &mut notices)?;
    Ok(Request::Serve(Box::new(config), notices))
}

/// What arguments, variables and the file give together.
fn complete(
    mut given: Given,
    variables: &[(String, String)],
) -> Result<(Given, Vec<Notice>), UsageError> {
    let mut notices = parse::environment(&mut given, variables)?;
    if !given.text("config-file").is_empty() {
        given = file::read(&given, &mut notices)?;
    }
    Ok((given, notices))
}

/// The log that arguments ask for which are refused.
pub fn log_of_refusal(args: &[String], variables: &[(String, String)]) -> LogConfig {
    let Ok(mut given) = parse::arguments(args) else {
        return LogConfig::default();
    };
    // What can be read before the refusal counts.
    let _ = parse::environment(&mut given, variables);
    resolve::log(&given)
}
