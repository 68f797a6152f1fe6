//! The process around a member: its data-dir, its log, its sockets, its signals, in the order in
//! which they come and go.

mod data_dir;
mod descriptors;
pub mod gateway;
pub mod identity;
pub mod logging;

mod admit;
mod advertise;
mod announce;
mod check;
mod clocks;
mod discovery;
mod dns;
mod join;
mod jwt;
mod machines;
mod names;
mod notify;
mod proxy;
pub mod restored;
mod space;
mod tls;

pub use check::{CheckReport, check};

use crate::config::url::Url;
use crate::config::{
    Bootstrap, BootstrapError, ClusterState, Config, Notice, ProxyMode, TokenConfig,
};
use crate::server::{ServerOptions, Servers, TlsSides};
use admit::NotAdmitted;
use data_dir::DataDirError;
use descriptors::{Descriptors, TooFewDescriptors};
use detcd_core::api::{ClusterId, MemberId, Millis};
use detcd_core::limits::{AWAY_LOG_BYTES_MAX, DEFERRED_LOG_BYTES_MIN, SNAPSHOT_CHUNK_BYTES};
use detcd_core::membership::identity::{self as membership, FlagsMismatch, Founding, check_flags};
use detcd_core::membership::join::{JoinError, Joined};
use detcd_core::validate::Limits;
use detcd_core::view::Fault;
use detcd_driver::{Handle, Member, MemberOptions, ShutdownReason};
use detcd_net::tls::TlsError;
use detcd_net::{BindError, Listener};
use detcd_peer::Transport;
use detcd_peer::tonic::TonicTransport;
use detcd_service::TokenKind;
use detcd_storage::advice;
use detcd_storage::disk::{DataDirLock, RealDisk};
use detcd_storage::log::LogOptions;
use detcd_storage::store::{FjallStore, OpenError, StoreOptions};
use discovery::FindError;
use dns::DnsError;
use identity::{Identity, IdentityError};
use jwt::JwtTokens;
use proxy::{DirUse, ProxyError};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

/// What clients get to finish their requests before the member stops under them.
const GRACE: Duration = Duration::from_millis(300);
/// What the member gets to stop. A member that has halted may never do so.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Why the process ends with a failure.
#[derive(Debug, Error)]
pub enum DaemonError {
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    #[error(
        "data-dir {path} belongs to member {stored}, which cannot join anew: start it without \
         -peers and -force to go on with what the data-dir holds, or choose another --data-dir"
    )]
    JoinedBefore { path: PathBuf, stored: MemberId },
    #[error(transparent)]
    Discovery(#[from] FindError),
    #[error(transparent)]
    Dns(#[from] DnsError),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("cannot open {path}: {source}; {}", advice(source))]
    Open { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("data-dir {path}: {source}")]
    Start {
        path: PathBuf,
        source: detcd_driver::StartError,
    },
    #[error(
        "data-dir {path} belongs to member {stored} of cluster {cluster}, which --initial-cluster \
         calls \"{owner}\", and not to \"{name}\"; give each member a --data-dir of its own"
    )]
    OtherMember {
        path: PathBuf,
        stored: MemberId,
        cluster: ClusterId,
        owner: String,
        name: String,
    },
    #[error(
        "data-dir {path} belongs to member {stored} of cluster {cluster}, which was not founded \
         with the token \"{token}\"; choose another --data-dir, or leave out --initial-cluster and \
         --initial-cluster-token to go on with what the data-dir holds"
    )]
    OtherCluster {
        path: PathBuf,
        stored: MemberId,
        cluster: ClusterId,
        token: String,
    },
    #[error(
        "member {0} has already been bootstrapped, but its data-dir is empty: what it has promised \
         is lost, and it must not vote again; remove it from the cluster (detcdctl member remove \
         {0}), add it anew (detcdctl member add), and start it with --initial-cluster-state=existing"
    )]
    DiskLost(MemberId),
    #[error(transparent)]
    Tokens(#[from] jwt::KeyError),
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    #[error("the member halted: {0}")]
    Halted(String),
    #[error("cannot persist the applied state: {0}")]
    Persist(Fault),
}

impl DaemonError {
    /// What to do about it, where the error alone does not say it.
    pub fn advice(&self) -> String {
        match self {
            DaemonError::Discovery(error) => error.advice(),
            _ => String::new(),
        }
    }
}

/// Serves until a signal asks to stop. `Ok` means that the member stopped as it should.
pub async fn serve(config: Config, notices: Vec<Notice>) -> Result<(), DaemonError> {
    announce::flags(&config, &notices);
    let descriptors = Descriptors::take(&config)?;
    let mut signals = Signals::listen()?;
    config.check_listeners()?;
    // Before anything is made: a member that cannot read its tokens serves nobody.
    let tokens = token_kind(&config)?;
    match proxy::dir_use(&config.data_dir)? {
        DirUse::Proxy => {
            tracing::info!(
                "the server is already initialized as proxy before, starting as etcd proxy..."
            );
            return proxy::serve(&config, signals).await;
        }
        DirUse::Empty if config.proxy.mode != ProxyMode::Off => {
            return proxy::serve(&config, signals).await;
        }
        DirUse::Member | DirUse::Empty => {}
    }
    // A task of its own, as opening a large store keeps its thread for a while.
    let starting = detcd_rt::spawn(start(config.clone(), descriptors));
    let started = tokio::select! {
        biased;
        name = signals.next() => {
            // What the start has written by now is what a crash would have left, too.
            tracing::info!(signal = name, "received signal while starting; shutting down");
            notify::stopping().await;
            return Ok(());
        }
        started = starting => started.expect("nobody cancels the start"),
    };
    let started = match started {
        Err(DaemonError::Discovery(error)) if error.is_full() && falls_back(&config) => {
            tracing::info!("discovery cluster full, falling back to proxy");
            data_dir::leave(&config.data_dir)?;
            return proxy::serve(&config, signals).await;
        }
        started => started?,
    };
    let Started {
        lock: _lock,
        member,
        peers,
        clients,
        restarts,
        tls,
    } = started;

    let handle = member.handle();
    if restarts {
        announce::restart(&config, &handle, tls.calls.clone()).await;
    }
    announce::addresses(&config, handle.header(0).member_id, &peers, &clients);
    let options = ServerOptions {
        client_connections_max: descriptors.client_connections,
        peer_connections_max: descriptors.peer_connections,
        tls: tls.clone(),
        tokens,
        ..ServerOptions::of(&config)
    };
    let version = options.service().cluster_version();
    let servers = Servers::start(handle.clone(), member.receiver(), options, clients, peers);
    let space = detcd_rt::spawn(space::watch(config.data_dir.clone(), handle.clone()));
    let clocks = detcd_rt::spawn(clocks::watch(handle.clone()));
    let expiries = detcd_rt::spawn(tls::watch(tls));
    let published = detcd_rt::spawn(advertise::advertise(handle.clone(), config, version));
    let outcome = until_the_end(&handle, signals).await;
    published.abort();
    space.abort();
    clocks.abort();
    expiries.abort();
    stop(member, servers, outcome).await
}

/// Whether a member that a discovery leaves over becomes a proxy.
fn falls_back(config: &Config) -> bool {
    config.discovery.as_ref().is_some_and(|it| it.falls_back)
}

/// A member that nobody can reach yet.
struct Started {
    lock: DataDirLock,
    member: Member,
    peers: Vec<Listener>,
    clients: Vec<Listener>,
    /// Whether it has been there before.
    restarts: bool,
    tls: TlsSides,
}

/// Takes the data-dir, finds out who this member is, and starts it.
async fn start(config: Config, descriptors: Descriptors) -> Result<Started, DaemonError> {
    let (folder, lock) = data_dir::take(&config.data_dir)?;
    let tls = tls::open(&config)?;
    let (peers, clients) = listen(&config, &tls)?;
    announce::start(&config);
    let identity = identify(&config, &folder, &tls).await?;
    // First of all: whatever else there is then has an owner.
    identity.write(&folder)?;
    data_dir::clear_unfinished(&folder, &identity)?;
    let (disk, store) = open(&config, descriptors, &folder)?;

    let transport = TonicTransport::new(identity.member_id.0, identity.cluster_id.0);
    let transport: Arc<dyn Transport> = Arc::new(transport.with_tls(tls.calls.clone()));
    let options = member_options(&config, &identity);
    let member = Member::start(options, disk, Arc::new(store), transport).await;
    let member = member.map_err(|source| DaemonError::Start {
        path: config.data_dir.clone(),
        source,
    })?;
    let restarts = identity.started;
    let identity = Identity {
        started: true,
        ..identity
    };
    identity.write(&folder)?;
    identity.write(&folder.join(data_dir::LOG))?;
    Ok(Started {
        lock,
        member,
        peers,
        clients,
        restarts,
        tls,
    })
}

/// Waits for a signal or for the member to halt.
async fn until_the_end(handle: &Handle, mut signals: Signals) -> Result<(), DaemonError> {
    let mut fatal = handle.fatal();
    let mut shutdown = handle.shutdown_reason();
    tokio::select! {
        biased;
        reason = shutdown.wait_for(Option::is_some) => match reason.ok().and_then(|why| *why) {
            Some(ShutdownReason::DiskLost) => {
                Err(DaemonError::DiskLost(handle.header(0).member_id))
            }
            // It has said so, and ends as it should.
            Some(ShutdownReason::Removed { .. }) | None => Ok(()),
        },
        reason = fatal.wait_for(Option::is_some) => {
            let reason = reason.ok().and_then(|reason| reason.clone());
            Err(DaemonError::Halted(reason.unwrap_or_else(|| "for no known reason".to_owned())))
        }
        name = signals.next() => {
            tracing::info!(signal = name, "received signal; shutting down");
            handle.hand_over().await;
            Ok(())
        }
    }
}

/// Clients go first, and get a moment; then the member; the other members last, which get none: a
/// member that has stopped answers them nothing.
async fn stop(
    member: Member,
    mut servers: Servers,
    outcome: Result<(), DaemonError>,
) -> Result<(), DaemonError> {
    let id = member.handle().header(0).member_id;
    tracing::info!(local_member_id = %id, "closing server");
    notify::stopping().await;
    let stopped = {
        let mut clients = pin!(servers.stop_clients());
        let drained = detcd_rt::timeout(GRACE, clients.as_mut()).await.is_ok();
        let stopped = detcd_rt::timeout(STOP_MAX, member.stop()).await;
        if !drained {
            clients.await;
        }
        stopped
    };
    let _ = detcd_rt::timeout(Duration::ZERO, servers.stop_peers()).await;
    tracing::info!(local_member_id = %id, "closed server");
    outcome?;
    match stopped {
        Ok(persisted) => persisted.map_err(DaemonError::Persist),
        Err(_) => Err(DaemonError::Halted(format!(
            "it did not stop within {STOP_MAX:?}"
        ))),
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> Result<Signals, DaemonError> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate()).map_err(DaemonError::Signals)?,
            interrupt: signal(SignalKind::interrupt()).map_err(DaemonError::Signals)?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "terminated",
            _ = self.interrupt.recv() => "interrupt",
        }
    }
}

/// Who this member is: by its data-dir if it has started before, else by its flags.
async fn identify(config: &Config, folder: &Path, tls: &TlsSides) -> Result<Identity, DaemonError> {
    let Some(stored) = data_dir::identity(&config.data_dir, folder).await? else {
        let identity = match config.initial_cluster_state {
            _ if config.peers.is_some() => join_by_peers(config, tls).await?,
            ClusterState::New => found(&discovered(config).await?).await?,
            ClusterState::Existing => join(&discovered(config).await?, tls).await?,
        };
        tracing::info!(
            local_member_id = %identity.member_id,
            cluster_id = %identity.cluster_id,
            initial_cluster = config.initial_cluster,
            "starting local member"
        );
        return Ok(identity);
    };
    if config.discovery.is_some() {
        tracing::warn!(
            "discovery token ignored since a cluster has already been initialized. Valid log found \
             at \"{}\"",
            folder.display()
        );
    }
    match (&config.peers, config.force) {
        (Some(_), true) => {
            return Err(DaemonError::JoinedBefore {
                path: config.data_dir.clone(),
                stored: stored.member_id,
            });
        }
        (Some(_), false) => {
            tracing::warn!(
                "the given peers are not asked: the data-dir says whose cluster it is of"
            );
        }
        (None, _) => {}
    }
    if !config.force {
        check_owner(config, &stored)?;
    }
    tracing::info!(
        local_member_id = %stored.member_id,
        cluster_id = %stored.cluster_id,
        name = stored.name,
        "the server is already initialized as member before, starting as etcd member..."
    );
    Ok(stored)
}

/// Two members, or members of two clusters, must never be mixed up.
fn check_owner(config: &Config, stored: &Identity) -> Result<(), DaemonError> {
    if !config.initial_cluster_given || stored.joined {
        return Ok(());
    }
    let Ok(bootstrap) = config.bootstrap() else {
        // Whatever is wrong with it, nothing is started by it.
        return Ok(());
    };
    let Bootstrap { members, token } = &bootstrap;
    let checked = check_flags(
        stored.member(),
        &stored.members,
        &config.name,
        members,
        token,
    );
    checked.map_err(|mismatch| match mismatch {
        FlagsMismatch::OtherMember { owner } => DaemonError::OtherMember {
            path: config.data_dir.clone(),
            stored: stored.member_id,
            cluster: stored.cluster_id,
            owner,
            name: config.name.clone(),
        },
        FlagsMismatch::OtherCluster => DaemonError::OtherCluster {
            path: config.data_dir.clone(),
            stored: stored.member_id,
            cluster: stored.cluster_id,
            token: bootstrap.token.clone(),
        },
    })
}

/// The identity of a member that one of the given peers admits.
async fn join_by_peers(config: &Config, tls: &TlsSides) -> Result<Identity, DaemonError> {
    let peers = config.peers.as_ref().expect("it was looked at");
    let admitted = admit::admitted(config, peers, tls.calls.as_ref()).await?;
    join(&admitted, tls).await
}

/// The flags of a member that has found the others.
async fn discovered(config: &Config) -> Result<Config, DaemonError> {
    let mut found = config.clone();
    if let Some(flags) = &config.discovery {
        found.initial_cluster = discovery::join(config, flags).await?;
    }
    if let Some(flags) = &config.dns {
        found.initial_cluster = dns::members(config, flags).await?;
    }
    Ok(found)
}

/// The identity of a member of a new cluster.
async fn found(config: &Config) -> Result<Identity, DaemonError> {
    let bootstrap = config.bootstrap()?;
    names::check_advertised(config, &bootstrap).await?;
    let founding = membership::found(&config.name, &bootstrap.members, &bootstrap.token);
    let Founding { own, members } = founding.expect("a bootstrap has the local name");
    Ok(Identity {
        cluster_id: own.cluster_id,
        member_id: own.member_id,
        name: config.name.clone(),
        started: false,
        members,
        joined: false,
    })
}

/// The identity of a member that was added to a running cluster, as that cluster tells it.
async fn join(config: &Config, tls: &TlsSides) -> Result<Identity, DaemonError> {
    let bootstrap = config.bootstrap()?;
    let Joined { cluster, member_id } = join::find(config, &bootstrap, tls.calls.as_ref()).await?;
    Ok(Identity {
        cluster_id: cluster.cluster_id,
        member_id,
        name: config.name.clone(),
        started: false,
        members: cluster.members,
        joined: true,
    })
}

/// The sockets for other members and for clients.
fn listen(config: &Config, tls: &TlsSides) -> Result<(Vec<Listener>, Vec<Listener>), BindError> {
    let reuse_port = config.socket_reuse_port;
    let addresses =
        |urls: &[Url]| -> Vec<String> { urls.iter().map(|url| url.address.clone()).collect() };
    tracing::info!(
        listen_peer_urls = ?strings(&config.listen_peer_urls),
        "configuring peer listeners"
    );
    let peers = tls::bind(&config.listen_peer_urls, reuse_port, tls.peers.as_ref())?;
    tracing::info!(
        listen_client_urls = ?strings(&config.listen_client_urls),
        listen_client_addresses = ?addresses(&config.listen_client_urls),
        "configuring client listeners"
    );
    let clients = tls::bind(&config.listen_client_urls, reuse_port, tls.clients.as_ref())?;
    Ok((peers, clients))
}

fn open(
    config: &Config,
    descriptors: Descriptors,
    folder: &Path,
) -> Result<(RealDisk, FjallStore), DaemonError> {
    let (log, state) = (folder.join(data_dir::LOG), folder.join(data_dir::STORE));
    let disk = RealDisk::open(&log).map_err(|source| DaemonError::Open { path: log, source })?;
    let options = StoreOptions {
        cache_bytes: config.store_cache_bytes,
        files_max: descriptors.table_files,
        ..StoreOptions::default()
    };
    Ok((disk, FjallStore::open(&state, options)?))
}

/// What kind of tokens the member gives, with its keys.
fn token_kind(config: &Config) -> Result<TokenKind, DaemonError> {
    Ok(match &config.auth.tokens {
        TokenConfig::Simple => TokenKind::Simple,
        TokenConfig::Jwt(options) => TokenKind::Signed(Arc::new(JwtTokens::open(options)?)),
    })
}

fn member_options(config: &Config, identity: &Identity) -> MemberOptions {
    let millis =
        |duration: Duration| Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    MemberOptions {
        cluster_id: identity.cluster_id,
        member_id: identity.member_id,
        members: identity.members.clone(),
        joins: identity.joined,
        strict_reconfig: config.strict_reconfig_check,
        heartbeat: millis(config.heartbeat),
        election_timeout: millis(config.election_timeout),
        snapshot_count: config.snapshot_count,
        catch_up_entries: config.snapshot_catchup_entries,
        snapshot_chunk_bytes: SNAPSHOT_CHUNK_BYTES,
        deferred_log_bytes_min: DEFERRED_LOG_BYTES_MIN,
        // Who gives the log's length wants it no longer.
        away_log_bytes_max: match config.is_log_length_given {
            true => 0,
            false => AWAY_LOG_BYTES_MAX,
        },
        limits: Limits {
            request_bytes_max: config.max_request_bytes,
            txn_ops_max: config.max_txn_ops,
        },
        quota_bytes: config.quota_backend_bytes,
        watch_progress_interval: millis(config.watch_progress_interval),
        token_time_to_live: millis(config.auth.token_time_to_live),
        log: LogOptions::new(detcd_rt::random_u64()),
    }
}

fn strings(urls: &[Url]) -> Vec<String> {
    urls.iter().map(Url::to_string).collect()
}
