//! What the run itself sees, beside its clients: facts for the history checks.

use crate::check::hash_equal::HashKv;
use bytes::Bytes;
use detcd_core::api::{KeyValue, LeaseId};
use detcd_core::limits::{REQUEST_BYTES_MAX, TXN_OPS_MAX};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct RunFacts {
    /// When each member's process started, every time.
    pub starts: BTreeMap<usize, Vec<Duration>>,
    /// When a member told that it leads, and when it had applied its term's first entry: from then
    /// on it counts the leases' time.
    pub elections: Vec<Duration>,
    /// Who was elected, and when.
    pub leaders: Vec<(Duration, u64)>,
    /// When each member found a leader, and when it lost it.
    pub leader_known: BTreeMap<usize, Vec<(Duration, bool)>>,
    /// The ids of members that were there from the start, or joined.
    pub ids: BTreeSet<u64>,
    /// From here on no fault is under way. `None` if that is not known.
    pub calm_since: Option<Duration>,
    pub election_timeout: Duration,
    /// The largest request that is taken, in bytes: by the member that takes the least, and by the
    /// one that takes most.
    pub request_bytes: RangeInclusive<u64>,
    /// What servers may refuse requests for that are in order.
    pub refusal_reasons: RefusalReasons,
    /// Hashes of the key space, asked for during the run and at its end.
    pub hashes: Vec<HashKv>,
    /// All keys, as the healed cluster tells of them. `None` if nobody was asked.
    pub keys: Option<BTreeMap<Bytes, KeyValue>>,
    /// Leases, as the healed cluster tells of them at the revision of `keys`.
    pub leases: Vec<LeaseKeys>,
}

impl Default for RunFacts {
    /// Nothing was seen, of members as they come.
    fn default() -> RunFacts {
        let bytes = REQUEST_BYTES_MAX as u64;
        RunFacts {
            starts: BTreeMap::new(),
            elections: Vec::new(),
            leaders: Vec::new(),
            leader_known: BTreeMap::new(),
            ids: BTreeSet::new(),
            calm_since: None,
            election_timeout: Duration::ZERO,
            request_bytes: bytes..=bytes,
            refusal_reasons: RefusalReasons::default(),
            hashes: Vec::new(),
            keys: None,
            leases: Vec::new(),
        }
    }
}

impl RunFacts {
    /// Whether the member heard from a leader all the time.
    pub fn has_leader(&self, member: usize, called: Duration, ended: Duration) -> bool {
        let known = self
            .leader_known
            .get(&member)
            .map_or(&[][..], Vec::as_slice);
        let before = known.iter().rfind(|(at, _)| *at < called);
        let mut during = known.iter().filter(|(at, _)| called <= *at && *at <= ended);
        before.is_some_and(|(_, is_known)| *is_known) && during.all(|(_, is_known)| *is_known)
    }
}

/// What the settings and the faults of a run give servers to refuse requests for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalReasons {
    /// The store has a limit, somewhere and at some time.
    pub quota: bool,
    /// The most operations that a transaction may have, at the member that takes the fewest.
    pub txn_ops: u64,
    /// Members join: who learns cannot answer everything.
    pub joins: bool,
}

impl Default for RefusalReasons {
    /// Those of members as they come, who stay among themselves.
    fn default() -> RefusalReasons {
        RefusalReasons {
            quota: false,
            txn_ops: TXN_OPS_MAX as u64,
            joins: false,
        }
    }
}

/// A lease and the keys that the cluster says are attached to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseKeys {
    pub id: LeaseId,
    /// The cluster knows it.
    pub exists: bool,
    pub keys: BTreeSet<Bytes>,
}
