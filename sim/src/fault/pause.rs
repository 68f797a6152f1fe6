//! Members stand still, and go on as if nothing had been.

use super::{FaultKind, Ongoing, World};
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::trace;

settings! {
    /// Members stand still, as by SIGSTOP: nothing of them runs, their clocks go on, and what they
    /// are sent waits for them.
    pub struct Pause {
        /// Who stands still.
        target: Targets,
    }
}

impl FaultKind for Pause {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let mut paused = self.target.members(world.members(), world.leader());
        paused.retain(|member| world.pause(*member));
        if !paused.is_empty() {
            trace::mark("fault.pause");
        }
        Ongoing::Paused(paused)
    }
}
