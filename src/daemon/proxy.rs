//! A process that is no member: a proxy of the v2 API, which sends what clients ask on to the
//! members. It knows where they are by `--initial-cluster`, by discovery, or by its data-dir, and
//! asks them again and again who they are.

use super::dns::DnsError;
use super::{DaemonError, Signals, discovery, dns, join, notify, tls};
use crate::config::url::{self, Url};
use crate::config::{Config, ProxyMode};
use crate::http_client::HttpClient;
use crate::server::ServerOptions;
use crate::server::proxy::{self, Endpoints, ProxyOptions};
use detcd_core::membership::discovery::DiscoveryError;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use thiserror::Error;

/// The folder of a proxy's data, and the file in it, as etcd has them.
pub(super) const FOLDER: &str = "proxy";
const FILE: &str = "cluster";
/// The pause before a refresh while no member is known.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// A proxy that is told to refresh less often than this does so earlier while it knows nobody.
const LONG_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Debug, Error)]
pub enum ProxyError {
    #[error("error setting up initial cluster: {0}")]
    Cluster(#[from] url::UrlError),
    #[error("{0}")]
    Discovery(#[from] DiscoveryError),
    #[error(transparent)]
    Dns(#[from] DnsError),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path} makes no sense ({problem}): remove it, and the proxy finds the members anew")]
    Damaged { path: PathBuf, problem: String },
    #[error("invalid datadir. Both member and proxy directories exist.")]
    Both,
}

/// What a data-dir has been used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DirUse {
    Member,
    Proxy,
    Empty,
}

pub(super) fn dir_use(data_dir: &Path) -> Result<DirUse, ProxyError> {
    let is_there = |name: &str| data_dir.join(name).is_dir();
    match (is_there("member"), is_there(FOLDER)) {
        (true, true) => Err(ProxyError::Both),
        (true, false) => Ok(DirUse::Member),
        (false, true) => Ok(DirUse::Proxy),
        (false, false) => Ok(DirUse::Empty),
    }
}

/// The file of a proxy's data-dir.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "PeerURLs")]
    peer_urls: Vec<String>,
}

/// Serves as a proxy until a signal asks to stop.
pub(super) async fn serve(config: &Config, mut signals: Signals) -> Result<(), DaemonError> {
    tracing::info!("this proxy supports v2 API only!");
    let folder = config.data_dir.join(FOLDER);
    let file = folder.join(FILE);
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder);
    made.map_err(|source| ProxyError::File {
        path: folder,
        source,
    })?;
    let peer_urls = tokio::select! {
        biased;
        name = signals.next() => {
            tracing::info!(signal = name, "received signal while starting; shutting down");
            return Ok(());
        }
        found = members(config, &file) => found?,
    };
    let sides = tls::open(config)?;
    let (urls, reuse_port) = (&config.listen_client_urls, config.socket_reuse_port);
    let clients = tls::bind(urls, reuse_port, sides.clients.as_ref())?;
    let endpoints = Arc::new(Mutex::new(Endpoints::new(config.proxy.failure_wait)));
    let options = ProxyOptions {
        server: ServerOptions::of(config),
        is_readonly: config.proxy.mode == ProxyMode::Readonly,
        client: HttpClient::new(config.proxy.dial_timeout)
            .with_write_timeout(config.proxy.write_timeout),
        read_timeout: config.proxy.read_timeout,
        endpoints: endpoints.clone(),
    };
    let refreshing = detcd_rt::spawn(refresh(
        endpoints,
        peer_urls,
        file,
        config.proxy.refresh_interval,
    ));
    let server = proxy::serve(options, clients);
    for url in &config.listen_client_urls {
        tracing::info!("v2 proxy started listening on client requests on \"{url}\"");
    }
    notify::ready().await;
    let name = signals.next().await;
    tracing::info!(signal = name, "received signal; shutting down");
    notify::stopping().await;
    refreshing.abort();
    server.stop().await;
    Ok(())
}

/// The peer URLs of the members: those of the last refresh, or by the flags.
async fn members(config: &Config, file: &Path) -> Result<Vec<String>, ProxyError> {
    match fs::read(file) {
        Ok(text) => {
            let stored: Stored =
                serde_json::from_slice(&text).map_err(|error| ProxyError::Damaged {
                    path: file.to_owned(),
                    problem: error.to_string(),
                })?;
            if config.discovery.is_some() {
                tracing::warn!(
                    "discovery token ignored since the proxy has already been initialized. Valid \
                     cluster file found at \"{}\"",
                    file.display()
                );
            }
            tracing::info!(
                "proxy: using peer urls [{}] from cluster file \"{}\"",
                stored.peer_urls.join(" "),
                file.display()
            );
            Ok(stored.peer_urls)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let cluster = match (&config.discovery, &config.dns) {
                (Some(flags), _) => discovery::look(flags).await?,
                (_, Some(flags)) => dns::members(config, flags).await?,
                (None, None) => config.initial_cluster.clone(),
            };
            let named = url::parse_named(&cluster)?;
            let mut urls: Vec<String> = named.values().flatten().map(Url::to_string).collect();
            urls.sort();
            tracing::info!("proxy: using peer urls [{}]", urls.join(" "));
            Ok(urls)
        }
        Err(source) => Err(ProxyError::File {
            path: file.to_owned(),
            source,
        }),
    }
}

/// Asks the members who they are, as long as it is polled.
async fn refresh(
    endpoints: Arc<Mutex<Endpoints>>,
    mut peer_urls: Vec<String>,
    file: PathBuf,
    interval: Duration,
) {
    let mut has_told = false;
    loop {
        let urls = match told_members(&peer_urls).await {
            Some((clients, peers)) => {
                if let Err(error) = store(&file, &peers) {
                    tracing::warn!(%error, file = %file.display(), "proxy: cannot keep the peer urls");
                }
                if peers != peer_urls {
                    tracing::info!(
                        "proxy: updated peer urls in cluster file from [{}] to [{}]",
                        peer_urls.join(" "),
                        peers.join(" ")
                    );
                }
                peer_urls = peers;
                clients
            }
            None => {
                tracing::warn!("proxy: could not retrieve cluster information from the given URLs");
                Vec::new()
            }
        };
        if !urls.is_empty() && !has_told {
            has_told = true;
            tracing::info!(endpoints = ?urls, "endpoints found");
        }
        let pause = match urls.is_empty() && interval >= LONG_INTERVAL {
            true => FIRST_PAUSE,
            false => interval,
        };
        endpoints
            .lock()
            .expect("nothing panics while it holds the endpoints")
            .replace(urls);
        detcd_rt::sleep(pause).await;
    }
}

/// The client URLs and the peer URLs of all members, as the first that answers tells them.
async fn told_members(peer_urls: &[String]) -> Option<(Vec<String>, Vec<String>)> {
    for text in peer_urls {
        let told = match Url::parse(text) {
            // Members' client ports are called without TLS, too.
            Ok(url) => join::ask_in_time(&url, None).await,
            Err(error) => Err(error.to_string()),
        };
        match told {
            Ok(told) => {
                let all = |urls: fn(&detcd_core::api::Member) -> &Vec<String>| {
                    let mut all: Vec<String> =
                        told.members.iter().flat_map(urls).cloned().collect();
                    all.sort();
                    all
                };
                return Some((all(|it| &it.client_urls), all(|it| &it.peer_urls)));
            }
            Err(problem) => {
                tracing::warn!(address = text, problem, "failed to get cluster response");
            }
        }
    }
    None
}

/// The file is there whole or not at all.
fn store(file: &Path, peer_urls: &[String]) -> io::Result<()> {
    let stored = Stored {
        peer_urls: peer_urls.to_vec(),
    };
    let draft = file.with_extension("bak");
    let mut opened = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    opened.write_all(&serde_json::to_vec(&stored)?)?;
    opened.sync_all()?;
    fs::rename(&draft, file)
}
