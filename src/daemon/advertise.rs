//! Tells the cluster this member's name and client URLs, and the world that the member is ready.

use super::notify;
use crate::config::Config;
use detcd_driver::Handle;

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
        tracing::info!(
            address = url.address,
            "serving client traffic insecurely; this is strongly discouraged!"
        );
    }
}
