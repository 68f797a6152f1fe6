//! Faults of members' processes: they die, stop or stand still.

use super::{FaultKind, Length, Ongoing, Trap, World};
use crate::disk::Loss;
use crate::disk::trap::{Point, Side};
use crate::scenario::choice::{Choice, OneOf};
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::{Count, Time};
use crate::trace;
use std::time::Duration;

settings! {
    /// Members die at once, and lose what their disks had not synced.
    pub struct Crash {
        /// Who dies.
        target: Targets,
        /// What becomes of writes that were not synced.
        disk: OneOf<Loss> = Loss::LoseUnsynced,
    }
}

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

settings! {
    /// Members die when they come to a point of what they do to their storage, and start again.
    /// They live if they do not come there before the fault is over.
    pub struct CrashPoint {
        /// Who dies.
        target: Targets,
        /// What they are doing.
        point: OneOf<Point>,
        /// Whether they die before or after they have done it.
        side: OneOf<Side>,
        /// How often they do it unharmed before that.
        skip: Count [0..=1_000_000] = 0,
        /// How long they are dead.
        down: Time [1..=600_000] = ("10ms", "1s"),
        /// What becomes of writes that were not synced.
        disk: OneOf<Loss> = Loss::LoseUnsynced,
    }
}

settings! {
    /// Members are asked to stop, as by SIGTERM, finish what they must, and end.
    pub struct Stop {
        /// Who stops.
        target: Targets,
    }
}

settings! {
    /// Members stand still, as by SIGSTOP: nothing of them runs, their clocks go on, and what they
    /// are sent waits for them.
    pub struct Pause {
        /// Who stands still.
        target: Targets,
    }
}

impl Choice for Loss {
    fn words() -> Vec<(&'static str, Loss)> {
        Loss::ALL.to_vec()
    }
}

impl Choice for Point {
    fn words() -> Vec<(&'static str, Point)> {
        vec![
            ("vote-save", Point::VoteSave),
            ("append", Point::Append),
            ("sync", Point::Sync),
            ("apply", Point::Apply),
            ("membership-commit", Point::Membership),
            ("persist", Point::Persist),
            ("snapshot-install", Point::SnapshotInstall),
        ]
    }
}

impl Choice for Side {
    fn words() -> Vec<(&'static str, Side)> {
        vec![("before", Side::Before), ("after", Side::After)]
    }
}

impl FaultKind for Crash {
    fn length(&self) -> Length {
        Length::RestartAfter
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let targets = world.named(&self.target);
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

impl FaultKind for CrashLoop {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        Ongoing::Loop {
            members: world.named(&self.target),
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

impl FaultKind for CrashPoint {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let members = world.named(&self.target);
        for member in &members {
            let trap = Trap {
                point: *self.point.value(),
                side: *self.side.value(),
                skip: self.skip.value(),
                loss: *self.disk.value(),
                down: self.down.duration(),
            };
            world.arm(*member, trap);
        }
        Ongoing::Armed(members)
    }
}

impl FaultKind for Stop {
    fn length(&self) -> Length {
        Length::RestartAfter
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let mut asked = world.named(&self.target);
        asked.retain(|member| world.stop(*member));
        if !asked.is_empty() {
            trace::mark("fault.stop");
        }
        Ongoing::Stopped(asked)
    }
}

impl FaultKind for Pause {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let mut paused = world.named(&self.target);
        paused.retain(|member| world.pause(*member));
        if !paused.is_empty() {
            trace::mark("fault.pause");
        }
        Ongoing::Paused(paused)
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
