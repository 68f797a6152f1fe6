//! Tells the cluster this member's name and client URLs, and the world that the member is ready.

use super::notify;
use crate::config::Config;
use detcd_core::error::Error;
use detcd_driver::Handle;
use std::time::Duration;

/// The pause after a failed try. Without a quorum there is nobody to tell.
const PAUSE: Duration = Duration::from_millis(100);

/// Tries until the cluster has taken it. Trying again after an unknown outcome is harmless: the
/// same name and URLs are written.
pub(super) async fn advertise(handle: Handle, config: Config, cluster_version: String) {
    let client_urls: Vec<String> = config
        .advertise_client_urls
        .iter()
        .map(ToString::to_string)
        .collect();
    let header = handle.header(0);
    loop {
        match handle
            .publish(config.name.clone(), client_urls.clone())
            .await
        {
            Ok(()) => break,
            Err(Error::Stopped) => return,
            Err(error) => tracing::debug!(%error, "cannot publish the local member yet"),
        }
        detcd_rt::sleep(PAUSE).await;
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
