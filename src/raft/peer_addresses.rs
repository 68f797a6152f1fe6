//! Tells the transport where the other members are reached: nothing else does.

use crate::machine::members_of;
use crate::types::{LogId, Types};
use detcd_core::api::{Member, MemberId};
use detcd_core::membership::{AddressEffect, PeerAddresses};
use detcd_peer::Transport;
use openraft::RaftMetrics;
use std::sync::Arc;

pub(crate) struct Addresses {
    transport: Arc<dyn Transport>,
    addresses: PeerAddresses,
    /// The entries of the memberships that were taken up last.
    seen: Option<[Option<LogId>; 2]>,
}

impl Addresses {
    /// Those that this member has `applied`, or without any those that it was `given`.
    pub(crate) fn start(
        transport: Arc<dyn Transport>,
        own_id: MemberId,
        given: &[Member],
        applied: &[Member],
    ) -> Addresses {
        let mut addresses = Addresses {
            transport,
            addresses: PeerAddresses::new(own_id),
            seen: None,
        };
        let effects = addresses.addresses.start(given, applied);
        addresses.execute(effects);
        addresses
    }

    /// Takes up the memberships that the engine goes by, if they are new. What that asks for is to be
    /// executed once the engine's metrics are no longer borrowed.
    pub(crate) fn follow(&mut self, metrics: &RaftMetrics<Types>) -> Vec<AddressEffect> {
        let newest = &metrics.membership_config;
        let committed = &metrics.committed_membership_config;
        let seen = Some([*newest.log_id(), *committed.log_id()]);
        if self.seen == seen {
            return Vec::new();
        }
        self.seen = seen;
        let (newest, committed) = (
            members_of(newest.membership()),
            members_of(committed.membership()),
        );
        self.addresses.follow(&[&newest, &committed])
    }

    pub(crate) fn execute(&self, effects: Vec<AddressEffect>) {
        for effect in effects {
            match effect {
                AddressEffect::Set { id, peer_urls } => self.transport.set_peer(id.0, peer_urls),
                AddressEffect::Remove(id) => self.transport.remove_peer(id.0),
            }
        }
    }
}
