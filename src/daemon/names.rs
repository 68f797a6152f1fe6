//! Whether two lists of URLs name the same addresses, though one names hosts and the other IPs.

use crate::config::url::{Scheme, Url};
use crate::config::{Bootstrap, BootstrapError, Config};
use detcd_rt::Instant;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// What all names together may take to resolve (etcd's time).
const RESOLVE_MAX: Duration = Duration::from_secs(30);
/// The pause before a name is looked up again.
const PAUSE: Duration = Duration::from_secs(1);

/// What this member tells others must be what the others were told. Only asked at the first start
/// of a new cluster.
pub(super) async fn check_advertised(
    config: &Config,
    bootstrap: &Bootstrap,
) -> Result<(), BootstrapError> {
    let own = &bootstrap.members[&config.name];
    let advertised = &config.initial_advertise_peer_urls;
    let same = Resolver::new().check_same(advertised, own).await;
    same.map_err(|why| config.not_advertised(own, why))
}

/// Looks names up, each once.
pub(super) struct Resolver {
    deadline: Instant,
    found: BTreeMap<String, Result<String, String>>,
}

impl Resolver {
    pub fn new() -> Resolver {
        Resolver {
            deadline: Instant::now() + RESOLVE_MAX,
            found: BTreeMap::new(),
        }
    }

    /// Whether both lists name the same addresses, in any order; if not, where they differ, in
    /// etcd's words. URLs that are the same are not looked up, unlike in etcd.
    pub async fn check_same(&mut self, a: &[Url], b: &[Url]) -> Result<(), String> {
        if a.len() != b.len() {
            return Err(format!("len({}) != len({})", quoted(a), quoted(b)));
        }
        if is_same(a, b) {
            return Ok(());
        }
        let (a, b) = (self.resolve_all(a).await?, self.resolve_all(b).await?);
        match a.iter().zip(&b).find(|(a, b)| a.0 != b.0) {
            None => Ok(()),
            Some(((a, was_a), (b, was_b))) => Err(format!(
                "\"{a}\"(resolved from \"{was_a}\") != \"{b}\"(resolved from \"{was_b}\")"
            )),
        }
    }

    /// Each URL as it resolves and as it was, sorted by the first.
    async fn resolve_all(&mut self, urls: &[Url]) -> Result<Vec<(String, String)>, String> {
        let mut resolved = Vec::new();
        for url in urls {
            let as_found = match self.found.get(url.as_str()) {
                Some(found) => found.clone(),
                None => {
                    let found = self.resolve(url).await;
                    self.found.insert(url.to_string(), found.clone());
                    found
                }
            };
            resolved.push((as_found?, url.to_string()));
        }
        resolved.sort();
        Ok(resolved)
    }

    /// The URL with the first address that its host has. As in etcd an address stays as it is, and
    /// so does `localhost`, which may mean another one on each machine.
    async fn resolve(&self, url: &Url) -> Result<String, String> {
        let (host, port) = url.host_port();
        if url.is_unix() || host == "localhost" || host.parse::<IpAddr>().is_ok() {
            return Ok(url.to_string());
        }
        let port = port.parse::<u16>().unwrap_or_default();
        let scheme = match url.scheme {
            Scheme::Https => "https",
            _ => "http",
        };
        loop {
            let looked_up = tokio::net::lookup_host((host, port));
            let problem = match detcd_rt::timeout_at(self.deadline, looked_up).await {
                Ok(Ok(mut addresses)) => match addresses.next() {
                    Some(address) => {
                        tracing::info!(%url, host, resolved_addr = %address, "resolved URL Host");
                        return Ok(format!("{scheme}://{address}"));
                    }
                    None => "no such host".to_owned(),
                },
                Ok(Err(error)) => error.to_string(),
                Err(_) => "timeout".to_owned(),
            };
            tracing::warn!(%url, host, error = problem, "failed to resolve URL Host");
            if Instant::now() + PAUSE >= self.deadline {
                return Err(format!(
                    "failed to resolve \"{url}\" (lookup {host}: {problem})"
                ));
            }
            detcd_rt::sleep(PAUSE).await;
        }
    }
}

/// Whether both are the same texts, in any order.
pub(super) fn is_same(a: &[Url], b: &[Url]) -> bool {
    let sorted = |urls: &[Url]| {
        let mut urls: Vec<String> = urls.iter().map(Url::to_string).collect();
        urls.sort();
        urls
    };
    sorted(a) == sorted(b)
}

/// As Go prints a list of strings in quotes.
fn quoted(urls: &[Url]) -> String {
    let quoted: Vec<String> = urls.iter().map(|url| format!("\"{url}\"")).collect();
    format!("[{}]", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Request};

    async fn checked(line: &str) -> Result<(), String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let config = match config::read(&args, &[]) {
            Ok(Request::Serve(config, _)) => *config,
            other => panic!("{other:?}"),
        };
        let bootstrap = config.bootstrap().expect("it names this member");
        let checked = check_advertised(&config, &bootstrap).await;
        checked.map_err(|error| error.to_string())
    }

    /// As etcd 3.5.1 words them.
    #[tokio::test]
    async fn what_is_advertised_must_be_what_the_cluster_is_told() {
        for (line, refusal) in [
            (
                "--name a --initial-cluster a=http://127.0.0.1:41380",
                "--initial-cluster has a=http://127.0.0.1:41380 but missing from \
                 --initial-advertise-peer-urls=http://localhost:2380 \
                 (\"http://localhost:2380\"(resolved from \"http://localhost:2380\") != \
                 \"http://127.0.0.1:41380\"(resolved from \"http://127.0.0.1:41380\"))",
            ),
            (
                "--name a --initial-cluster a=http://127.0.0.1:1,a=http://127.0.0.1:2 \
                 --initial-advertise-peer-urls http://127.0.0.1:1",
                "--initial-cluster has a=http://127.0.0.1:2 but missing from \
                 --initial-advertise-peer-urls=http://127.0.0.1:1 (len([\"http://127.0.0.1:1\"]) \
                 != len([\"http://127.0.0.1:1\" \"http://127.0.0.1:2\"]))",
            ),
            (
                "--name a --initial-cluster a=http://127.0.0.1:1 \
                 --initial-advertise-peer-urls http://127.0.0.1:1,http://127.0.0.1:2",
                "--initial-advertise-peer-urls has http://127.0.0.1:2 but missing from \
                 --initial-cluster=a=http://127.0.0.1:1,a=http://127.0.0.1:2",
            ),
        ] {
            assert_eq!(checked(line).await, Err(refusal.to_owned()), "{line}");
        }
    }

    #[tokio::test]
    async fn what_is_the_same_is_not_looked_up() {
        let line = "--name a --initial-cluster a=http://nowhere.invalid:2,a=http://127.0.0.1:1 \
                    --initial-advertise-peer-urls http://127.0.0.1:1,HTTP://nowhere.invalid:2";
        assert_eq!(checked(line).await, Ok(()));
    }
}
