//! Writes that land elsewhere.

use super::storage::{Stored, begin_defects};
use super::{FaultKind, Ongoing, World};
use crate::disk::defects::Defect;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::Ratio;

settings! {
    /// Writes to the raft log and the vote land on another page of their file. A member that
    /// notices stays down. Nothing is done to a member that the others rely on to remember.
    pub struct StrayWrite {
        /// Whose storage.
        target: Targets,
        /// What is concerned.
        part: Stored = Stored::All,
        /// How likely a write is misdirected.
        probability: Ratio = 0.1,
    }
}

impl FaultKind for StrayWrite {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let defect = Defect::StrayWrites(self.probability.value());
        begin_defects(world, &self.target, "fault.stray-write", self.part, defect)
    }
}
