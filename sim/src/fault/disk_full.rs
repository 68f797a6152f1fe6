//! A disk with no room for more.

use super::storage::{Stored, begin_defects};
use super::{FaultKind, Ongoing, World};
use crate::disk::defects::Defect;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;

settings! {
    /// There is no room for new files and longer ones, nor for more of the state. A member that
    /// needs some stops, and is started again when there is room.
    pub struct DiskFull {
        /// Whose disks.
        target: Targets,
    }
}

impl FaultKind for DiskFull {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        begin_defects(
            world,
            &self.target,
            "fault.disk-full",
            Stored::All,
            Defect::Full,
        )
    }
}
