//! Reads that give less than there is.

use super::storage::{Stored, begin_defects};
use super::{FaultKind, Ongoing, World};
use crate::disk::defects::Defect;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::Ratio;

settings! {
    /// Reads of the raft log give less than was asked for, though there is more.
    pub struct ShortRead {
        /// Whose storage.
        target: Targets,
        /// What is concerned.
        part: Stored = Stored::All,
        /// How likely a read is short.
        probability: Ratio = 0.5,
    }
}

impl FaultKind for ShortRead {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let defect = Defect::ShortReads(self.probability.value());
        begin_defects(world, &self.target, "fault.short-read", self.part, defect)
    }
}
