//! What the log says while a member starts.

use super::{join, strings};
use crate::config::url::{Url, parse_list};
use crate::config::{Config, Notice, VersionInfo};
use detcd_core::api::MemberId;
use detcd_driver::Handle;
use detcd_net::Listener;
use detcd_net::tls::TlsClient;
use std::sync::Arc;

/// Says what the flags and the environment made of this process.
pub(super) fn flags(config: &Config, notices: &[Notice]) {
    for notice in notices {
        match notice {
            Notice::UsedVariable(name, value) => tracing::info!(
                variable_name = name,
                variable_value = value,
                "recognized and used environment variable"
            ),
            Notice::ShadowedVariable(name) => tracing::warn!(
                "recognized environment variable {name}, but unused: shadowed by corresponding flag"
            ),
            Notice::UnknownVariable(variable) => tracing::warn!(
                environment_variable = variable,
                "unrecognized environment variable"
            ),
            Notice::DroppedFlag(name) => {
                tracing::warn!("flag \"-{name}\" is no longer supported - ignoring.");
            }
            Notice::LeftOut(place) => {
                tracing::warn!("{place} is left out: with --config-file, only the file counts");
            }
            Notice::Advice(text) => tracing::warn!("{text}"),
        }
    }
    program(config);
    let data_dir = config.data_dir.display();
    if config.data_dir_is_default {
        tracing::warn!(%data_dir, "'data-dir' was empty; using default");
    }
}

fn program(config: &Config) {
    let own = VersionInfo::OWN;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = match config.worker_threads {
        0 => cpus,
        threads => threads,
    };
    tracing::info!(
        detcd_version = own.detcd,
        git_sha = own.git_sha,
        rust_version = own.rust,
        os_arch = format!("{}/{}", own.os, own.go_arch()),
        threads,
        cpus,
        "running detcd"
    );
}

pub(super) fn start(config: &Config) {
    tracing::info!(
        detcd_version = VersionInfo::OWN.detcd,
        etcd_version = config.etcd_version,
        name = config.name,
        data_dir = %config.data_dir.display(),
        heartbeat_interval = ?config.heartbeat,
        election_timeout = ?config.election_timeout,
        snapshot_count = config.snapshot_count,
        listen_peer_urls = ?strings(&config.listen_peer_urls),
        listen_client_urls = ?strings(&config.listen_client_urls),
        advertise_client_urls = ?strings(&config.advertise_client_urls),
        initial_advertise_peer_urls = ?strings(&config.initial_advertise_peer_urls),
        initial_cluster = config.initial_cluster,
        discovery_url = config.discovery.as_ref().map(|it| &it.url[..]),
        "starting a detcd server"
    );
}

pub(super) fn addresses(config: &Config, id: MemberId, peers: &[Listener], clients: &[Listener]) {
    let addresses = |listeners: &[Listener]| -> Vec<String> {
        listeners
            .iter()
            .map(|listener| listener.address().to_string())
            .collect()
    };
    tracing::info!(
        local_member_id = %id,
        name = config.name,
        initial_advertise_peer_urls = ?strings(&config.initial_advertise_peer_urls),
        listen_peer_urls = ?addresses(peers),
        advertise_client_urls = ?strings(&config.advertise_client_urls),
        listen_client_urls = ?addresses(clients),
        "now serving peer/client/metrics"
    );
}

/// Who a member knows that comes back, and whether any other of them is there already.
pub(super) async fn restart(config: &Config, handle: &Handle, tls: Option<Arc<TlsClient>>) {
    let Ok((_, mut members)) = handle.member_list(false).await else {
        return;
    };
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let own = handle.header(0).member_id;
    let urls = |is_own: bool| {
        let chosen = members.iter().filter(move |it| (it.id == own) == is_own);
        chosen.flat_map(|it| it.peer_urls.iter().cloned())
    };
    let others: Vec<String> = urls(false).collect();
    tracing::info!(
        name = config.name,
        peer_urls = ?urls(true).chain(others.iter().cloned()).collect::<Vec<_>>(),
        "known members"
    );
    let others = others.iter().filter_map(|url| parse_list(url).ok());
    let others: Vec<Url> = others.flatten().collect();
    let asked = async move {
        for url in others {
            if join::ask_in_time(&url, tls.as_ref()).await.is_ok() {
                return;
            }
        }
        tracing::info!("no other member answers; this one starts the cluster again");
    };
    detcd_rt::spawn(asked);
}
