//! Members that die again soon after each start.

use super::{FaultKind, Ongoing, World};
use crate::disk::Loss;
use crate::scenario::choice::OneOf;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::Time;
use crate::trace;
use std::time::Duration;

settings! {
    /// The same members die again and again, each time soon after their start.
    pub struct CrashLoop {
        /// Who dies.
        target: Targets,
        /// How long they live.
        up: Time [1..=600_000] = ("20ms", "800ms"),
        /// How long they are dead.
        down: Time [1..=600_000] = ("1ms", "300ms"),
        /// What becomes of writes that were not synced.
        disk: OneOf<Loss> = Loss::LoseUnsynced,
    }
}

impl FaultKind for CrashLoop {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        Ongoing::Loop {
            members: self.target.members(world.members(), world.leader()),
            dead: false,
        }
    }

    fn go_on(&self, ongoing: &mut Ongoing, world: &mut dyn World) -> Option<Duration> {
        let Ongoing::Loop { members, dead } = ongoing else {
            unreachable!("it began as a loop")
        };
        *dead = !*dead;
        if *dead {
            trace::mark("fault.crash-loop");
            for member in members {
                world.crash(*member, *self.disk.value());
            }
            return Some(self.down.duration());
        }
        members.iter().for_each(|member| world.start(*member));
        Some(self.up.duration())
    }
}
