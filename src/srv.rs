//! SRV records of DNS, which name the servers of a domain.

use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{Resolver, TokioResolver};
use std::net::{IpAddr, SocketAddr};

/// A server of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub host: String,
    pub port: u16,
    /// The smallest is to be tried first.
    pub priority: u16,
    /// Its share among those of its priority.
    pub weight: u16,
}

impl Target {
    /// `host:port`, as a URL has it.
    pub fn authority(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Looks SRV records up.
pub(crate) struct SrvLookup {
    resolver: TokioResolver,
}

impl SrvLookup {
    /// Asks this DNS server, or those of the system.
    pub fn new(server: Option<SocketAddr>) -> Result<SrvLookup, String> {
        let resolver = match server {
            None => Resolver::builder_tokio().map_err(text)?.build(),
            Some(address) => {
                let mut config = NameServerConfig::udp_and_tcp(address.ip());
                for connection in &mut config.connections {
                    connection.port = address.port();
                }
                let config = ResolverConfig::from_name_servers(vec![config]);
                Resolver::builder_with_config(config, TokioRuntimeProvider::default()).build()
            }
        };
        let resolver = resolver.map_err(text)?;
        Ok(SrvLookup { resolver })
    }

    /// The servers of `_service._tcp.domain`, those to be tried first in front. The error says
    /// what was asked for.
    pub async fn targets(&self, service: &str, domain: &str) -> Result<Vec<Target>, String> {
        // A dot at the end keeps the system's search domains out, as in etcd.
        let name = format!("_{service}._tcp.{}.", domain.trim_end_matches('.'));
        let failed = |why: String| format!("lookup {}: {why}", name.trim_end_matches('.'));
        let found = match self.resolver.srv_lookup(&name[..]).await {
            Ok(found) => found,
            Err(error) if error.is_no_records_found() => {
                return Err(failed("no such host".to_owned()));
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        let mut records: Vec<_> = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(srv),
                _ => None,
            })
            .collect();
        records.sort_by_key(|srv| (srv.priority, u16::MAX - srv.weight));
        let targets = records.into_iter().map(|srv| Target {
            host: srv.target.to_utf8().trim_end_matches('.').to_owned(),
            port: srv.port,
            priority: srv.priority,
            weight: srv.weight,
        });
        Ok(targets.collect())
    }
}

/// The service of a domain's records: `etcd-server-ssl-NAME`, or without one of the last two parts.
pub(crate) fn service(base: &str, is_tls: bool, name: &str) -> String {
    let tls = if is_tls { "-ssl" } else { "" };
    match name {
        "" => format!("{base}{tls}"),
        name => format!("{base}{tls}-{name}"),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_named_as_etcd_names_them() {
        assert_eq!(service("etcd-server", true, ""), "etcd-server-ssl");
        assert_eq!(service("etcd-client", false, "a"), "etcd-client-a");
        assert_eq!(service("etcd-server", true, "a"), "etcd-server-ssl-a");
    }

    #[tokio::test]
    async fn a_lookup_that_fails_says_what_was_asked_for() {
        // Nobody answers there.
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let lookup = SrvLookup::new(Some(nobody)).unwrap();
        let failure = lookup.targets("etcd-server", "example.com").await;
        let text = failure.unwrap_err();
        let start = "lookup _etcd-server._tcp.example.com: ";
        assert!(text.starts_with(start), "{text}");
    }
}
