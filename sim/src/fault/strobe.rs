//! Wall clocks that flip between two dates.

use super::{ClockChange, FaultKind, Ongoing, World};
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::Time;
use crate::trace;
use std::time::Duration;

settings! {
    /// Members' wall clocks jump ahead and back, again and again. Monotonic clocks cannot.
    pub struct Strobe {
        /// Whose clocks.
        target: Targets,
        /// How far they jump.
        ahead: Time [1..=86_400_000] = ("1s", "60s"),
        /// The pause between two jumps.
        pause: Time [1..=600_000] = ("50ms", "1s"),
    }
}

impl FaultKind for Strobe {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        Ongoing::Strobe {
            members: self.target.members(world.members(), world.leader()),
            ahead: false,
        }
    }

    fn go_on(&self, ongoing: &mut Ongoing, world: &mut dyn World) -> Option<Duration> {
        let Ongoing::Strobe { members, ahead } = ongoing else {
            unreachable!("it began as a strobe")
        };
        *ahead = !*ahead;
        let by = self.ahead.value() as i64;
        let milliseconds = if *ahead { by } else { -by };
        for member in members {
            world.change_clock(*member, ClockChange::StepWall { milliseconds });
        }
        trace::mark("fault.strobe");
        Some(self.pause.duration())
    }
}
