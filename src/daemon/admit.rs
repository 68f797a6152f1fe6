//! `-peers`: a member asks one that it is told of to admit it to the cluster, as etcd 0.2 did, and
//! then joins it as any member that was added.

use super::{join, strings};
use crate::config::{ClusterState, Config, Peers};
use detcd_core::api::Member;
use detcd_core::url::Url;
use detcd_net::tls::TlsClient;
use detcd_net::{Address, Connector, Dialer};
use detcd_wire::etcdserverpb as pb;
use pb::cluster_client::ClusterClient;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tonic::transport::Endpoint;

/// How long one member may take to be reached, and to make the change.
const DIAL_MAX: Duration = Duration::from_secs(2);
const CHANGE_MAX: Duration = Duration::from_secs(7);

/// etcd 0.2's words.
#[derive(Debug, Error)]
#[error("Cannot join the cluster via given peers after {0} retries")]
pub struct NotAdmitted(u64);

/// The flags of a member that was admitted: those of one that joins an existing cluster.
pub(super) async fn admitted(
    config: &Config,
    peers: &Peers,
    tls: Option<&Arc<TlsClient>>,
) -> Result<Config, NotAdmitted> {
    for _ in 0..peers.attempts {
        for peer in &peers.urls {
            match ask(peer, config, tls).await {
                Ok(members) => {
                    let initial_cluster = named(&members, config);
                    tracing::info!(%peer, initial_cluster, "admitted to the cluster");
                    return Ok(Config {
                        initial_cluster,
                        initial_cluster_state: ClusterState::Existing,
                        ..config.clone()
                    });
                }
                Err(problem) => tracing::info!(%peer, problem, "not admitted by a peer"),
            }
        }
        let seconds = peers.pause.as_secs();
        tracing::warn!("cannot join to cluster via given peers, retry in {seconds} seconds");
        detcd_rt::sleep(peers.pause).await;
    }
    Err(NotAdmitted(peers.attempts))
}

/// Has this member added by the cluster of `peer`: its members, this one among them.
async fn ask(
    peer: &Url,
    config: &Config,
    tls: Option<&Arc<TlsClient>>,
) -> Result<Vec<Member>, String> {
    // etcd 0.2 was given the members' ports for each other; the one for clients will do.
    let known = match join::ask_in_time(peer, tls).await {
        Ok(told) => told.members,
        Err(_) => return add(peer.as_str(), config, tls).await,
    };
    let own = strings(&config.initial_advertise_peer_urls);
    let is_own = |member: &&Member| member.peer_urls.iter().any(|url| own.contains(url));
    match known.iter().find(is_own) {
        // The answer to the change was lost.
        Some(member) if member.name.is_empty() && member.peer_urls == own => return Ok(known),
        Some(member) => {
            return Err(format!(
                "member {} has the peer URLs already: remove it, or start with its data-dir",
                member.id
            ));
        }
        None => {}
    }
    let mut problem = "no member of its cluster has told its client URLs".to_owned();
    for url in known.iter().flat_map(|member| &member.client_urls) {
        match add(url, config, tls).await {
            Ok(members) => return Ok(members),
            Err(error) => problem = format!("{url}: {error}"),
        }
    }
    Err(problem)
}

/// Asks the member with this client URL to add this one.
async fn add(
    url: &str,
    config: &Config,
    tls: Option<&Arc<TlsClient>>,
) -> Result<Vec<Member>, String> {
    let address = Address::of_url(url).map_err(text)?;
    let endpoint = Endpoint::from_shared(format!("http://{}", address.authority()))
        .map_err(text)?
        .timeout(CHANGE_MAX);
    let dialer = Dialer::within(DIAL_MAX).with_tls(tls.cloned());
    let connector = Connector::new(dialer, address);
    let channel = endpoint.connect_with_connector(connector);
    let channel = channel.await.map_err(text)?;
    let request = pb::MemberAddRequest {
        peer_urls: strings(&config.initial_advertise_peer_urls),
        is_learner: false,
    };
    let added = ClusterClient::new(channel).member_add(request).await;
    let added = added.map_err(|status| status.message().to_owned())?;
    let members = added.into_inner().members.into_iter();
    Ok(members.map(Member::from).collect())
}

/// The members as `--initial-cluster` would name them: this one by its name, the others by names
/// that are theirs alone.
fn named(members: &[Member], config: &Config) -> String {
    let own = strings(&config.initial_advertise_peer_urls);
    let mut names = BTreeMap::from([(config.name.clone(), own.clone())]);
    for member in members.iter().filter(|member| member.peer_urls != own) {
        let name = match member.name.is_empty() || names.contains_key(&member.name) {
            true => member.id.to_string(),
            false => member.name.clone(),
        };
        names.insert(name, member.peer_urls.clone());
    }
    let items = names
        .iter()
        .flat_map(|(name, urls)| urls.iter().map(move |url| format!("{name}={url}")));
    items.collect::<Vec<_>>().join(",")
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
