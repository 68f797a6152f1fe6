//! Tells the cluster this member's name and client URLs, and the world that the member is ready.

use super::{machines, notify};
use crate::config::Config;
use detcd_core::v2::Dialect;
use detcd_driver::Handle;
use std::time::Duration;

/// The pause before an update of the peer URLs is tried again.
const UPDATE_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn advertise(handle: Handle, config: Config, cluster_version: String) {
    let client_urls: Vec<String> = config
        .advertise_client_urls
        .iter()
        .map(ToString::to_string)
        .collect();
    let header = handle.header(0);
    let published = handle.publish(config.name.clone(), client_urls.clone());
    if published.await.is_err() {
        return;
    }
    if config.force {
        update_peer_urls(&handle, &config).await;
    }
    if config.enable_v2 && config.v2_dialect == Dialect::Etcd02 {
        machines::register(&handle, &config).await;
    }
    tracing::info!(
        local_member_id = %header.member_id,
        local_member_attributes = format!("{{Name:{} ClientURLs:[{}]}}", config.name, client_urls.join(" ")),
        cluster_id = %header.cluster_id,
        "published local member to cluster through raft"
    );
    tracing::info!(cluster_version, "enabled capabilities for version");
    tracing::info!("ready to serve client requests");
    notify::ready().await;
    for url in &config.listen_client_urls {
        let address = &url.address;
        match url.is_tls() {
            true => tracing::info!(address, "serving client traffic securely"),
            false => tracing::info!(
                address,
                "serving client traffic insecurely; this is strongly discouraged!"
            ),
        }
    }
}

/// `-force`: the peer URLs of the flags replace those of the first start.
async fn update_peer_urls(handle: &Handle, config: &Config) {
    let own = handle.header(0).member_id;
    let urls: Vec<String> = config
        .initial_advertise_peer_urls
        .iter()
        .map(ToString::to_string)
        .collect();
    loop {
        let known = handle.member_list(false).await;
        let is_known = known.is_ok_and(|(_, members)| {
            let mut members = members.iter();
            members.any(|member| member.id == own && member.peer_urls == urls)
        });
        if is_known {
            return;
        }
        match handle.member_update(own, &urls).await {
            Ok(_) => {
                return tracing::info!(peer_urls = ?urls, "updated the peer URLs of this member");
            }
            Err(error) => tracing::warn!(%error, "cannot update the peer URLs of this member yet"),
        }
        detcd_rt::sleep(UPDATE_PAUSE).await;
    }
}
