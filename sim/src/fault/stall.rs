//! A disk that does nothing for a while.

use super::storage::{Stored, begin_defects};
use super::{FaultKind, Ongoing, World};
use crate::disk::defects::Defect;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;

settings! {
    /// No read, write or sync of some members ends before the fault does.
    pub struct Stall {
        /// Whose storage.
        target: Targets,
        /// What is concerned.
        part: Stored = Stored::All,
    }
}

impl FaultKind for Stall {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let defect = Defect::Stall;
        begin_defects(world, &self.target, "fault.stall", self.part, defect)
    }
}
