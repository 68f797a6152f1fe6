//! A disk that takes its time.

use super::storage::{Stored, begin_defects};
use super::{FaultKind, Ongoing, World};
use crate::disk::defects::Defect;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::Counts;

settings! {
    /// Whatever some members read, write and sync takes longer.
    pub struct SlowDisk {
        /// Whose storage.
        target: Targets,
        /// What is concerned.
        part: Stored = Stored::All,
        /// How much longer, in milliseconds; drawn each time.
        by_ms: Counts [0..=60_000],
    }
}

impl FaultKind for SlowDisk {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let defect = Defect::Slow(self.by_ms.range());
        begin_defects(world, &self.target, "fault.slow-disk", self.part, defect)
    }
}
