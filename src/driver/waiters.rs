//! Who waits for the outcomes of this member's requests: one table, by the names that the node knows
//! them by. The node has what it decides by (deadlines, stages); here is only whom to answer.

use crate::inbox::Waiter;
use detcd_core::api::{LeaseInfo, Outcome};
use detcd_core::error::Error;
use detcd_core::event::Asker;
use std::collections::BTreeMap;

/// Who waits, by what is to be answered.
pub(crate) enum Waiting {
    Write(Waiter<Outcome>),
    Read(Waiter<()>),
    Lease(Waiter<LeaseInfo>),
}

#[derive(Default)]
pub(crate) struct Waiters(BTreeMap<Asker, Waiting>);

impl Waiters {
    pub fn insert(&mut self, asker: Asker, waiting: Waiting) {
        self.0.insert(asker, waiting);
    }

    /// Nobody waits any more.
    pub fn forget(&mut self, asker: Asker) {
        self.0.remove(&asker);
    }

    pub fn end_write(&mut self, asker: Asker, result: Result<Outcome, Error>) {
        if let Some(Waiting::Write(waiter)) = self.0.remove(&asker) {
            // A waiter that is gone wanted no answer; so below.
            let _ = waiter.send(result);
        }
    }

    pub fn end_read(&mut self, asker: Asker, result: Result<(), Error>) {
        if let Some(Waiting::Read(waiter)) = self.0.remove(&asker) {
            let _ = waiter.send(result);
        }
    }

    pub fn end_lease(&mut self, asker: Asker, result: Result<LeaseInfo, Error>) {
        if let Some(Waiting::Lease(waiter)) = self.0.remove(&asker) {
            let _ = waiter.send(result);
        }
    }
}
