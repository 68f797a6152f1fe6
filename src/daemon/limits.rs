//! What the kernel grants the process.

use detcd_storage::descriptors;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;

/// Descriptors that neither storage nor connections of others take: the runtime's, the listeners',
/// standard output, and connections to other members.
const INTERNAL: u64 = 24;
/// With fewer there is no sense in a start.
const LIMIT_MIN: u64 = 256;
/// Of the rest, one in so many is for connections of other members.
const PEER_SHARE: u64 = 8;
/// Connections of other members: each of the largest clusters' holds one, and at times three.
const PEER_CONNECTIONS_MIN: u64 = 32;
const PEER_CONNECTIONS_MAX: u64 = 256;

/// Why the process cannot start, in etcd's words.
#[derive(Debug, Error)]
#[error(
    "file descriptor limit of etcd process is too low; please set higher: it is {limit}, and \
     {LIMIT_MIN} is the least (ulimit -n)"
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
    pub fn take() -> Result<Descriptors, TooFewDescriptors> {
        let descriptors = Descriptors::of(raise_open_files())?;
        tracing::info!(
            limit = descriptors.limit,
            client_connections = descriptors.client_connections,
            peer_connections = descriptors.peer_connections,
            table_files = descriptors.table_files,
            "connections are limited by the file descriptors that storage leaves"
        );
        Ok(descriptors)
    }

    fn of(limit: u64) -> Result<Descriptors, TooFewDescriptors> {
        if limit < LIMIT_MIN {
            return Err(TooFewDescriptors { limit });
        }
        let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let storage = descriptors::needed(size(limit)) as u64;
        let rest = limit - INTERNAL - storage;
        let peers = (rest / PEER_SHARE).clamp(PEER_CONNECTIONS_MIN, PEER_CONNECTIONS_MAX);
        Ok(Descriptors {
            limit,
            table_files: descriptors::table_files(size(limit)),
            client_connections: size(rest - peers),
            peer_connections: size(peers),
        })
    }
}

/// Raises the limit to what the process may have, as Go does: shells give few. Gives the limit.
fn raise_open_files() -> u64 {
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
        let descriptors = Descriptors::of(limit).unwrap();
        (
            descriptors.table_files,
            descriptors.peer_connections,
            descriptors.client_connections,
        )
    }

    #[test]
    fn descriptors_are_shared_out() {
        assert!(Descriptors::of(150).is_err() && Descriptors::of(255).is_err());
        assert_eq!(shared(256), (32, 32, 45));
        assert_eq!(shared(400), (50, 32, 171));
        assert_eq!(shared(1024), (128, 93, 656));
        assert_eq!(shared(20_000), (256, 256, 19_341));
        for limit in [256, 399, 1024, 65_536, u64::MAX] {
            let (files, peers, clients) = shared(limit);
            let storage = descriptors::needed(usize::try_from(limit).unwrap_or(usize::MAX));
            assert!((storage + peers + clients) as u64 <= limit - INTERNAL);
            assert!(files > 0 && peers > 0 && clients > 0);
        }
    }
}
