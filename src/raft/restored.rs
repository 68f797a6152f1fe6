//! The rows of raft in a state that is no cluster's yet: it was restored from a snapshot.

use crate::meta;
use crate::types::{Membership, Peer, StoredMembership, log_id};
use detcd_core::api::Member;
use detcd_core::machine::Machine;
use detcd_core::overlay::Overlay;
use detcd_core::view::{Batch, Fault, Table, View};
use std::collections::{BTreeMap, BTreeSet};

/// The term before any leader, in which founders apply their membership, too.
const TERM: u64 = 0;

/// What makes the state of `view`, in which nothing was applied, that of a cluster of these members.
/// It is as if their membership had been the only entries: whoever joins later, with an empty log,
/// gets the state as a snapshot.
pub fn restored_rows(view: &dyn View, members: &[Member]) -> Result<Batch, Fault> {
    let mut overlay = Overlay::new(view);
    Machine::load(view)?.apply_membership(members, &mut overlay)?;
    let mut batch = overlay.into_batch();
    let peers: BTreeMap<u64, Peer> = members
        .iter()
        .map(|member| {
            let peer = Peer {
                name: member.name.clone(),
                peer_urls: member.peer_urls.clone(),
                learner: false,
            };
            (member.id.0, peer)
        })
        .collect();
    let voters: BTreeSet<u64> = peers.keys().copied().collect();
    let membership = Membership::new(vec![voters], peers);
    let membership = membership.map_err(|error| Fault(error.to_string()))?;
    let applied = log_id(TERM, members.len() as u64);
    let rows = [
        meta::applied_row(&applied),
        meta::membership_row(&StoredMembership::new(Some(applied), membership)),
    ];
    for (key, value) in rows {
        batch.put(Table::Meta, key, value);
    }
    Ok(batch)
}
