//! What a member keeps of v2 beside the rows: who watches, and when times-to-live end.

use crate::api::{LeaseId, Millis};
use crate::effect::Effect;
use crate::event::V2State;
use crate::lease::Lessor;
use crate::v2::watch::Hub;
use crate::v2::{Applied, TtlChange};
use crate::watch::Budget;
use alloc::vec::Vec;

pub(super) struct V2 {
    pub hub: Hub,
    /// Times-to-live end as leases do, under the index that names them.
    pub ttls: Lessor,
}

impl V2 {
    pub fn new(election_timeout: Millis, state: &V2State) -> V2 {
        V2 {
            hub: Hub::new(state.index),
            ttls: Lessor::new(election_timeout, &named(state)),
        }
    }

    pub fn applied(&mut self, now: Millis, applied: &Applied) {
        for change in &applied.ttls {
            match *change {
                TtlChange::Set { id, seconds } if crate::mutant!(V2ShortLife) => {
                    self.ttls.granted(now, name(id), seconds / 2);
                }
                TtlChange::Set { id, seconds } => self.ttls.granted(now, name(id), seconds),
                TtlChange::Dropped { id } => self.ttls.revoked(name(id)),
            }
        }
        self.hub.applied(applied);
    }

    pub fn restored(&mut self, now: Millis, state: &V2State) {
        self.ttls.restored(now, &named(state));
        self.hub.restored(state.index);
    }

    /// The next thing to do for watchers, within the budget.
    pub fn poll_within(&mut self, budget: &mut Budget) -> Option<Effect> {
        if budget.is_spent() {
            return None;
        }
        let effect = self.hub.poll();
        budget.spend(u64::from(effect.is_some()));
        effect
    }

    pub fn check(&self) {
        self.hub.check();
        self.ttls.check();
    }
}

fn name(id: u64) -> LeaseId {
    LeaseId(id as i64)
}

fn named(state: &V2State) -> Vec<(LeaseId, i64)> {
    let ttls = state.ttls.iter();
    ttls.map(|(id, seconds)| (name(*id), *seconds)).collect()
}
