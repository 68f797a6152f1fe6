//! What a member counts of v2's tree. Every member applies every write, so every member counts it;
//! reads and watchers are counted where they are asked for.

use crate::stats::{Counter, Gauge};
use detcd_core::api::Reply;
use detcd_core::event::Applied;
use detcd_core::v2::{Action, Operation};

/// Requests of one kind, by how they ended.
#[derive(Debug, Default)]
pub struct Ends {
    pub success: Counter,
    pub fail: Counter,
}

impl Ends {
    pub(crate) fn count(&self, is_success: bool) {
        match is_success {
            true => self.success.add(1),
            false => self.fail.add(1),
        }
    }
}

/// The tree of v2.
#[derive(Debug, Default)]
pub struct V2Stats {
    pub gets: Ends,
    pub sets: Ends,
    pub creates: Ends,
    pub updates: Ends,
    pub deletes: Ends,
    pub compare_and_swaps: Ends,
    pub compare_and_deletes: Ends,
    pub expired: Counter,
    pub watchers: Gauge,
}

impl V2Stats {
    /// Counts what an entry did.
    pub(crate) fn applied(&self, entry: &Applied) {
        if let Ok(Reply::V2(operation, result)) = &entry.outcome.result {
            self.of(*operation).count(result.is_ok());
        }
        let event = entry.v2.as_ref().map(|applied| &applied.event);
        if event.is_some_and(|event| event.action == Action::Expire) {
            self.expired.add(1);
        }
    }

    fn of(&self, operation: Operation) -> &Ends {
        match operation {
            Operation::Set => &self.sets,
            Operation::Create | Operation::CreateInOrder => &self.creates,
            Operation::Update => &self.updates,
            Operation::CompareAndSwap => &self.compare_and_swaps,
            Operation::Delete => &self.deletes,
            Operation::CompareAndDelete => &self.compare_and_deletes,
        }
    }
}
