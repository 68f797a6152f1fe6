//! The members of a new cluster, from `--initial-cluster`, with etcd's checks and texts.

use super::Config;
use super::url::{self, Url, UrlError};
use std::collections::BTreeMap;
use thiserror::Error;

/// The members that start a cluster together, by name, the same on every member. For a member that
/// joins a cluster: the members that it believes to be there, itself among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    pub members: BTreeMap<String, Vec<Url>>,
    pub token: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BootstrapError {
    #[error("error setting up initial cluster: {0}")]
    Url(#[from] UrlError),
    #[error("couldn't find local name {0:?} in the initial cluster configuration")]
    NameMissing(String),
    #[error("initial cluster {0} has duplicate url")]
    DuplicateUrl(String),
    #[error(
        "--initial-cluster has {missing} but missing from --initial-advertise-peer-urls={advertised} ({why})"
    )]
    NotAdvertised {
        missing: String,
        advertised: String,
        why: String,
    },
    #[error(
        "--initial-advertise-peer-urls has {missing} but missing from --initial-cluster={cluster}"
    )]
    NotInCluster { missing: String, cluster: String },
    #[error("failed to resolve {advertised} to match --initial-cluster={cluster} ({why})")]
    NotResolved {
        advertised: String,
        cluster: String,
        why: String,
    },
    #[error(
        "TLS key/cert (--cert-file, --key-file) must be provided for client url {0} with HTTPS scheme"
    )]
    ClientTls(String),
    #[error("cannot listen on TLS for {0}: KeyFile and CertFile are not presented")]
    PeerTls(String),
}

impl Config {
    /// Who starts the cluster. Only asked by a member that has not started before.
    pub fn bootstrap(&self) -> Result<Bootstrap, BootstrapError> {
        let members = url::parse_named(&self.initial_cluster)?;
        if !members.contains_key(&self.name) {
            return Err(BootstrapError::NameMissing(self.name.clone()));
        }
        let mut all: Vec<&Url> = members.values().flatten().collect();
        all.sort();
        if all.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(BootstrapError::DuplicateUrl(render(&members)));
        }
        Ok(Bootstrap {
            members,
            token: self.initial_cluster_token.clone(),
        })
    }

    /// The refusal of a first start whose `--initial-advertise-peer-urls` are not what
    /// `--initial-cluster` names for this member: the others were told something else. `why` says
    /// how they differ.
    pub fn not_advertised(&self, own: &[Url], why: String) -> BootstrapError {
        let advertised = &self.initial_advertise_peer_urls;
        let missing: Vec<String> = own
            .iter()
            .filter(|url| !advertised.contains(url))
            .map(|url| format!("{}={url}", self.name))
            .collect();
        if !missing.is_empty() {
            return BootstrapError::NotAdvertised {
                missing: missing.join(","),
                advertised: url::join(advertised),
                why,
            };
        }
        let missing: Vec<&str> = advertised
            .iter()
            .filter(|url| !own.contains(url))
            .map(Url::as_str)
            .collect();
        let cluster = render(&BTreeMap::from([(self.name.clone(), advertised.clone())]));
        match missing.is_empty() {
            false => BootstrapError::NotInCluster {
                missing: missing.join(","),
                cluster,
            },
            true => BootstrapError::NotResolved {
                advertised: url::join(advertised),
                cluster,
                why,
            },
        }
    }
}

fn render(members: &BTreeMap<String, Vec<Url>>) -> String {
    let items: Vec<String> = members
        .iter()
        .flat_map(|(name, urls)| urls.iter().map(move |url| format!("{name}={url}")))
        .collect();
    items.join(",")
}
