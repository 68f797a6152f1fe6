//! Snapshots that are not what was received once they are stored.

use super::storage::{Stored, begin_defects};
use super::{FaultKind, Ongoing, World};
use crate::disk::defects::{Defect, Operation};
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;

settings! {
    /// A snapshot that some members receive is found rotten when it is put in place. Such a member
    /// stops, is started again when the fault is over, and asks anew.
    pub struct SnapshotRot {
        /// Whose snapshots.
        target: Targets,
    }
}

impl FaultKind for SnapshotRot {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let defect = Defect::Fails {
            operation: Operation::Install,
            probability: 1.0,
        };
        let part = Stored::State;
        begin_defects(world, &self.target, "fault.snapshot-rot", part, defect)
    }
}
