//! Members are stopped in good order.

use super::{FaultKind, Length, Ongoing, World};
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::trace;

settings! {
    /// Members are asked to stop, as by SIGTERM, finish what they must, and end.
    pub struct Stop {
        /// Who stops.
        target: Targets,
    }
}

impl FaultKind for Stop {
    fn length(&self) -> Length {
        Length::RestartAfter
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let mut asked = self.target.members(world.members(), world.leader());
        asked.retain(|member| world.stop(*member));
        if !asked.is_empty() {
            trace::mark("fault.stop");
        }
        Ongoing::Stopped(asked)
    }
}
