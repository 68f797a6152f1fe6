//! Looks names up: what this member tells others must be what the others were told.

use crate::config::url::Url;
use crate::config::{Bootstrap, BootstrapError, Config};
use detcd_core::membership::peer_urls::{Compared, Resolved, compare, with_address};
use detcd_rt::Instant;
use futures::future::join_all;
use std::time::Duration;

/// What all names together may take to resolve (etcd's time).
const RESOLVE_MAX: Duration = Duration::from_secs(30);
/// The pause before a name is looked up again.
const PAUSE: Duration = Duration::from_secs(1);

/// Only asked at the first start of a new cluster.
pub(super) async fn check_advertised(
    config: &Config,
    bootstrap: &Bootstrap,
) -> Result<(), BootstrapError> {
    let own = &bootstrap.members[&config.name];
    let advertised = &config.initial_advertise_peer_urls;
    let (mut resolved, deadline) = (Resolved::new(), deadline());
    loop {
        match compare(advertised, own, &resolved) {
            Compared::Same => return Ok(()),
            Compared::Different(why) => return Err(config.not_advertised(own, why)),
            Compared::Unresolved(urls) => {
                let lookups = urls.iter().map(|url| resolve(url, deadline));
                let addresses = join_all(lookups).await;
                resolved.extend(urls.into_iter().zip(addresses));
            }
        }
    }
}

/// Until when names are looked up that are needed from now on.
pub(super) fn deadline() -> Instant {
    Instant::now() + RESOLVE_MAX
}

/// The URL with the first address that its host has.
pub(super) async fn resolve(url: &Url, deadline: Instant) -> Result<String, String> {
    let (host, port) = url.host_port();
    let port = port.parse::<u16>().unwrap_or_default();
    loop {
        let looked_up = tokio::net::lookup_host((host, port));
        let problem = match detcd_rt::timeout_at(deadline, looked_up).await {
            Ok(Ok(mut addresses)) => match addresses.next() {
                Some(address) => {
                    tracing::info!(%url, host, resolved_addr = %address, "resolved URL Host");
                    return Ok(with_address(url, &address.to_string()));
                }
                None => "no such host".to_owned(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => "timeout".to_owned(),
        };
        tracing::warn!(%url, host, error = problem, "failed to resolve URL Host");
        if Instant::now() + PAUSE >= deadline {
            return Err(format!(
                "failed to resolve \"{url}\" (lookup {host}: {problem})"
            ));
        }
        detcd_rt::sleep(PAUSE).await;
    }
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
