//! `--discovery-srv`: the members of a cluster are those that a domain's SRV records name.

use crate::config::{Config, DnsDiscovery};
use crate::srv::{SrvLookup, Target, service};
use detcd_core::url::Scheme;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// What is asked for of a domain.
const SERVICE: &str = "etcd-server";

#[derive(Debug, Error)]
pub enum DnsError {
    #[error("cannot look names up: {0}; give the DNS server with --discovery-srv-server")]
    Resolver(String),
    #[error("error setting up initial cluster: error querying DNS SRV records for _{0} {1}")]
    NoRecords(String, String),
}

/// The members, as `--initial-cluster` would name them.
pub(super) async fn members(config: &Config, flags: &DnsDiscovery) -> Result<String, DnsError> {
    let lookup = SrvLookup::new(flags.server).map_err(DnsError::Resolver)?;
    let own = own_addresses(config).await;
    let mut members = Vec::new();
    let mut problem = String::new();
    for (is_tls, scheme) in [(true, Scheme::Https), (false, Scheme::Http)] {
        let service = service(SERVICE, is_tls, &flags.name);
        match lookup.targets(&service, &flags.domain).await {
            Ok(targets) => {
                let addresses = resolved(&targets).await;
                let found = named(
                    &config.name,
                    &own,
                    scheme,
                    &targets,
                    &addresses,
                    members.len(),
                );
                tracing::info!(
                    service,
                    members = found.join(","),
                    "got the cluster by SRV records"
                );
                members.extend(found);
            }
            Err(why) => {
                tracing::info!(service, problem = why, "got no cluster by SRV records");
                problem = why;
            }
        }
    }
    match members.is_empty() {
        false => Ok(members.join(",")),
        true => {
            let service = service(SERVICE, false, &flags.name);
            Err(DnsError::NoRecords(service, problem))
        }
    }
}

/// Each member under this member's name if its address is one of this member's, and else under a
/// number, from `first` on.
fn named(
    own_name: &str,
    own: &BTreeMap<String, Scheme>,
    scheme: Scheme,
    targets: &[Target],
    addresses: &[BTreeSet<String>],
    first: usize,
) -> Vec<String> {
    let mut number = first;
    let mut members = Vec::new();
    for (target, addresses) in targets.iter().zip(addresses) {
        let matched = addresses.iter().find_map(|address| own.get(address));
        let shown = if scheme == Scheme::Https {
            "https"
        } else {
            "http"
        };
        let url = format!("{shown}://{}", target.authority());
        match matched {
            Some(of_own) if *of_own == scheme => members.push(format!("{own_name}={url}")),
            // The record is of this member, and not of this way to reach it.
            Some(_) => tracing::warn!(
                url,
                "a SRV record has another scheme than --initial-advertise-peer-urls: it is left out"
            ),
            None => {
                members.push(format!("{number}={url}"));
                number += 1;
            }
        }
    }
    members
}

/// The addresses of this member's peer URLs.
async fn own_addresses(config: &Config) -> BTreeMap<String, Scheme> {
    let mut own = BTreeMap::new();
    for url in &config.initial_advertise_peer_urls {
        let (host, port) = url.host_port();
        for address in lookup_host(host, port.parse().unwrap_or_default()).await {
            own.insert(address, url.scheme);
        }
    }
    own
}

async fn resolved(targets: &[Target]) -> Vec<BTreeSet<String>> {
    let lookups = targets.iter().map(|it| lookup_host(&it.host, it.port));
    futures::future::join_all(lookups).await
}

async fn lookup_host(host: &str, port: u16) -> BTreeSet<String> {
    match tokio::net::lookup_host((host, port)).await {
        Ok(addresses) => addresses.map(|address| address.to_string()).collect(),
        Err(error) => {
            tracing::warn!(host, %error, "failed to resolve a host of SRV records");
            BTreeSet::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, port: u16) -> Target {
        Target {
            host: host.to_owned(),
            port,
            priority: 0,
            weight: 0,
        }
    }

    #[test]
    fn this_member_has_its_name_and_the_others_have_numbers() {
        let own = BTreeMap::from([("10.0.0.2:2380".to_owned(), Scheme::Http)]);
        let targets = [
            target("a.x", 2380),
            target("b.x", 2380),
            target("c.x", 2380),
        ];
        let addresses = ["10.0.0.1:2380", "10.0.0.2:2380", "10.0.0.3:2380"];
        let addresses = addresses.map(|address| BTreeSet::from([address.to_owned()]));
        let named = |scheme, first| named("me", &own, scheme, &targets, &addresses, first);
        assert_eq!(
            named(Scheme::Http, 0),
            [
                "0=http://a.x:2380",
                "me=http://b.x:2380",
                "1=http://c.x:2380"
            ]
        );
        assert_eq!(
            named(Scheme::Https, 4),
            ["4=https://a.x:2380", "5=https://c.x:2380"],
            "this member is not reached so"
        );
    }
}
