//! Finds the members of a cluster in a registry. What it makes of the answers is decided in
//! [`detcd_core::membership::discovery`].

mod registry;

use super::strings;
use crate::config::{Config, Discovery as Flags};
use detcd_core::membership::discovery::{Discovery, DiscoveryError, Effect, Event, Notice};
use detcd_core::membership::id::member_id;
use registry::Registry;
use std::time::Duration;
use thiserror::Error;

/// Why a member found no cluster, in etcd's words.
#[derive(Debug, Error)]
pub enum FindError {
    #[error(
        "member {name:?} has previously registered with discovery service token ({url}).\nBut \
         detcd could not find valid cluster configuration in the given data dir ({data_dir})."
    )]
    DuplicateId {
        name: String,
        url: String,
        data_dir: String,
    },
    #[error(
        "member with duplicated name has registered with discovery service token({url}).\nplease \
         check (cURL) the discovery token for more information.\nplease do not reuse the discovery \
         token and generate a new one to bootstrap the cluster."
    )]
    DuplicateName { url: String },
    #[error("failed to join discovery cluster ({source})")]
    Other { url: String, source: DiscoveryError },
}

impl FindError {
    /// Whether there were enough members without this one.
    pub fn is_full(&self) -> bool {
        matches!(
            self,
            FindError::Other {
                source: DiscoveryError::Full,
                ..
            }
        )
    }

    /// What to do about it.
    pub fn advice(&self) -> String {
        match self {
            FindError::DuplicateId { .. } => "Please check the given data dir path if the previous \
                 bootstrap succeeded\nor use a new discovery token if the previous bootstrap failed."
                .to_owned(),
            FindError::DuplicateName { .. } => String::new(),
            FindError::Other { url, .. } => format!(
                "discovery token {url} was used, but failed to bootstrap the cluster.\nplease \
                 generate a new discovery token and try to bootstrap again."
            ),
        }
    }
}

/// Registers this member, and waits for the others: the members, as `--initial-cluster` would name
/// them.
pub(super) async fn join(config: &Config, flags: &Flags) -> Result<String, FindError> {
    let id = member_id(
        &strings(&config.initial_advertise_peer_urls),
        &flags.url,
        None,
    );
    let search = Discovery::join(id, config.initial_cluster.clone());
    let url = flags.url.clone();
    run(search, flags).await.map_err(|source| match source {
        DiscoveryError::DuplicateId => FindError::DuplicateId {
            name: config.name.clone(),
            url,
            data_dir: config.data_dir.display().to_string(),
        },
        DiscoveryError::DuplicateName => FindError::DuplicateName { url },
        source => FindError::Other { url, source },
    })
}

/// The members that are registered, once there are enough of them.
pub(super) async fn look(flags: &Flags) -> Result<String, DiscoveryError> {
    run(Discovery::look(), flags).await
}

async fn run(mut search: Discovery, flags: &Flags) -> Result<String, DiscoveryError> {
    let registry = Registry::new(&flags.url, flags.proxy.as_deref());
    loop {
        let mut event = None;
        while let Some(effect) = search.poll() {
            event = Some(match effect {
                Effect::ReadSize => Event::Size(registry.size().await),
                Effect::List => Event::Listed(registry.list().await),
                Effect::Create { id, value } => Event::Created(registry.create(&id, &value).await),
                Effect::Wait { after } => Event::Changed(registry.wait(after).await),
                Effect::Pause { ms } => {
                    detcd_rt::sleep(Duration::from_millis(ms)).await;
                    Event::Paused
                }
                Effect::Tell(notice) => {
                    tell(&notice);
                    continue;
                }
                Effect::Done(outcome) => return outcome,
            });
        }
        search.handle(event.expect("it goes on until it is done"));
    }
}

fn tell(notice: &Notice) {
    match notice {
        Notice::Retry { .. } => tracing::warn!(target: "detcd::discovery", "{notice}"),
        _ => tracing::info!(target: "detcd::discovery", "{notice}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use detcd_core::membership::id::cluster_id;

    /// A walkthrough's five members, whose token is the discovery URL.
    #[test]
    fn members_of_a_discovery_have_etcds_ids() {
        let url = "http://localhost:2379/v2/keys/_etcd/registry/test";
        let peer_url = |i: usize| format!("http://localhost:{i}2380");
        let ids: Vec<_> = (1..=5)
            .map(|i| member_id(&[peer_url(i)], url, None))
            .collect();
        let shown: Vec<String> = ids.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "38538e10a590934a",
                "d9067d913c6c8ec1",
                "6104f38a34ee187e",
                "84074fa680e71ff8",
                "540a30cee9fea123"
            ]
        );
        assert_eq!(cluster_id(&ids).to_string(), "ae0d4a553ba2d8dd");
    }
}
