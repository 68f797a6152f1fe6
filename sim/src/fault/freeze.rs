//! Clocks that stand still.

use super::{ClockChange, FaultKind, Ongoing, World};
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::trace;

settings! {
    /// Members' clocks stand still while the members go on, as in a virtual machine whose host
    /// lost its time source; each shows a microsecond a second, so that sleeps end at all.
    pub struct Freeze {
        /// Whose clocks.
        target: Targets,
    }
}

impl FaultKind for Freeze {
    fn clock(&self) -> Option<(f64, bool)> {
        Some((1.0, false))
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let targets = self.target.members(world.members(), world.leader());
        for member in &targets {
            world.change_clock(*member, ClockChange::Rate { ppm: 1 });
            trace::mark("fault.freeze");
        }
        Ongoing::Clocks(targets)
    }
}
