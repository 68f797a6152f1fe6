//! Reads, writes or syncs that fail.

use super::storage::{Stored, begin_defects};
use super::{FaultKind, Ongoing, World};
use crate::disk::defects::{Defect, Operation};
use crate::scenario::choice::choices;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::Ratio;

settings! {
    /// Some operations of some members fail with EIO. A member that meets an error of its log stops at once, acknowledges nothing more, and is started again when the fault is over.
    pub struct IoError {
        /// Whose storage.
        target: Targets,
        /// What is concerned.
        part: Stored = Stored::All,
        /// What fails.
        operation: Failing,
        /// How likely it fails.
        probability: Ratio = 1.0,
    }
}

impl FaultKind for IoError {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let defect = Defect::Fails {
            operation: match self.operation {
                Failing::Read => Operation::Read,
                Failing::Write => Operation::Write,
                Failing::Sync => Operation::Sync,
            },
            probability: self.probability.value(),
        };
        begin_defects(world, &self.target, "fault.io-error", self.part, defect)
    }
}

choices! {
    /// Operations.
    pub enum Failing {
        /// Reads.
        Read = "read",
        /// Writes.
        Write = "write",
        /// Syncs: what was written since the one before is lost, and counts as written.
        Sync = "sync",
    }
}
