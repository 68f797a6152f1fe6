//! File descriptors: how many the kernel grants the process, and who may have how many.

use crate::config::Config;
use detcd_core::limits::{
    DESCRIPTORS_INTERNAL, DESCRIPTORS_MIN, DESCRIPTORS_PEER_SHARE, PEER_CONNECTIONS_MAX,
    PEER_CONNECTIONS_MIN,
};
use detcd_storage::descriptors;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;

/// Why the process cannot start, in etcd's words.
#[derive(Debug, Error)]
#[error(
    "file descriptor limit of etcd process is too low; please set higher: it is {limit}, and \
     {DESCRIPTORS_MIN} is the least (ulimit -n)"
)]
pub struct TooFewDescriptors {
    limit: u64,
}

/// Who may have how many file descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptors {
    limit: u64,
    pub table_files: usize,
    pub client_connections: usize,
    pub peer_connections: usize,
}

impl Descriptors {
    /// Takes as many as the kernel grants, and shares them out.
    pub fn take(config: &Config) -> Result<Descriptors, TooFewDescriptors> {
        let log_bytes = log_bytes_max(config);
        let descriptors = Descriptors::of(raise_open_files(), log_bytes)?;
        tracing::info!(
            limit = descriptors.limit,
            client_connections = descriptors.client_connections,
            peer_connections = descriptors.peer_connections,
            table_files = descriptors.table_files,
            "connections are limited by the file descriptors that storage leaves"
        );
        let enough = descriptors::limit_for(log_bytes) as u64;
        if descriptors.limit < enough {
            tracing::warn!(
                limit = descriptors.limit,
                enough,
                "the limit of file descriptors is too low for a log full of the largest requests: \
                 raise it (ulimit -n), or lower --snapshot-count or --max-request-bytes"
            );
        }
        Ok(descriptors)
    }

    fn of(limit: u64, log_bytes: u64) -> Result<Descriptors, TooFewDescriptors> {
        if limit < DESCRIPTORS_MIN {
            return Err(TooFewDescriptors { limit });
        }
        let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let storage = descriptors::needed(size(limit), log_bytes) as u64;
        let rest = limit - DESCRIPTORS_INTERNAL - storage;
        let peers =
            (rest / DESCRIPTORS_PEER_SHARE).clamp(PEER_CONNECTIONS_MIN, PEER_CONNECTIONS_MAX);
        Ok(Descriptors {
            limit,
            table_files: descriptors::table_files(size(limit)),
            client_connections: size(rest - peers),
            peer_connections: size(peers),
        })
    }
}

/// The most that the log holds: what no snapshot covers yet, and what is kept behind it.
fn log_bytes_max(config: &Config) -> u64 {
    let entries = config
        .snapshot_count
        .saturating_add(config.snapshot_catchup_entries);
    entries.saturating_mul(config.max_request_bytes as u64)
}

/// Raises the limit to what the process may have, as Go does: shells give few. Gives the limit.
pub(super) fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let unlimited = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    if limit.current == limit.maximum {
        return unlimited(limit.current);
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => unlimited(limit.maximum),
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            unlimited(limit.current)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(limit: u64) -> (usize, usize, usize) {
        let descriptors = Descriptors::of(limit, 0).unwrap();
        (
            descriptors.table_files,
            descriptors.peer_connections,
            descriptors.client_connections,
        )
    }

    #[test]
    fn connections_keep_their_share_beside_a_log_of_large_values() {
        for limit in [256, 400, 1024, 65_536] {
            let descriptors = Descriptors::of(limit, 15_000 << 21).unwrap();
            assert!(descriptors.client_connections >= 45, "{descriptors:?}");
        }
    }

    #[test]
    fn descriptors_are_shared_out() {
        assert!(Descriptors::of(150, 0).is_err() && Descriptors::of(255, 0).is_err());
        assert_eq!(shared(256), (32, 32, 45));
        assert_eq!(shared(400), (50, 32, 171));
        assert_eq!(shared(1024), (128, 93, 656));
        assert_eq!(shared(20_000), (256, 256, 19_341));
        for limit in [256, 399, 1024, 65_536, u64::MAX] {
            let (files, peers, clients) = shared(limit);
            let limit_size = usize::try_from(limit).unwrap_or(usize::MAX);
            let storage = descriptors::needed(limit_size, 0);
            assert!((storage + peers + clients) as u64 <= limit - DESCRIPTORS_INTERNAL);
            assert!(files > 0 && peers > 0 && clients > 0);
        }
    }
}
