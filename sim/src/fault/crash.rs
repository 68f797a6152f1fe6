//! Members die at once, and lose what their disks had not synced.

use super::{FaultKind, Length, Ongoing, World};
use crate::disk::Loss;
use crate::scenario::choice::{Choice, OneOf};
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::trace;

settings! {
    /// Members die at once, and lose what their disks had not synced.
    pub struct Crash {
        /// Who dies.
        target: Targets,
        /// What becomes of writes that were not synced.
        disk: OneOf<Loss> = Loss::LoseUnsynced,
    }
}

impl Choice for Loss {
    fn words() -> Vec<(&'static str, Loss)> {
        Loss::ALL.to_vec()
    }
}

impl FaultKind for Crash {
    fn length(&self) -> Length {
        Length::RestartAfter
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let targets = self.target.members(world.members(), world.leader());
        let loss = *self.disk.value();
        trace::event("fault.crash", format_args!("{targets:?} {loss:?}"));
        if targets.iter().any(|target| world.leader() == Some(*target)) {
            trace::mark("leader.crashed");
        }
        let mut down = targets;
        down.retain(|member| world.crash(*member, loss));
        Ongoing::Down(down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::end;
    use crate::fault::testing::RecordingWorld;
    use crate::scenario::target::Target;

    #[test]
    fn only_who_was_alive_is_started_again() {
        let mut world = RecordingWorld::new(Some(2));
        assert!(world.crash(0, Loss::KeepAll));
        let crash = Crash {
            target: Targets::one(Target::All),
            disk: OneOf::one(Loss::Torn),
        };
        let ongoing = crash.begin(&mut world);
        assert!(matches!(&ongoing, Ongoing::Down(down) if down == &[1, 2]));
        end(ongoing, &mut world);
        assert!(world.down.contains(&0) && !world.down.contains(&1));
    }
}
