//! Writes that are acknowledged and never happen.

use super::storage::{Stored, begin_defects};
use super::{FaultKind, Ongoing, World};
use crate::disk::defects::Defect;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::Ratio;

settings! {
    /// Writes to the raft log and the vote are acknowledged, also by their syncs, and never happen.
    /// A member that notices at its next start stays down. Nothing is done to a member that the
    /// others rely on to remember.
    pub struct LostWrite {
        /// Whose storage.
        target: Targets,
        /// What is concerned.
        part: Stored = Stored::All,
        /// How likely a write is lost.
        probability: Ratio = 0.1,
    }
}

impl FaultKind for LostWrite {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let defect = Defect::LostWrites(self.probability.value());
        begin_defects(world, &self.target, "fault.lost-write", self.part, defect)
    }
}
