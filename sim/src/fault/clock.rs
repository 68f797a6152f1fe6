//! A member's clock runs at another rate, jumps, or shows another date.

use super::{ClockChange, FaultKind, Ongoing, World};
use crate::scenario::reader::{Problem, Reader};
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::{Ratio, Time};
use crate::trace;
use std::time::Duration;

settings! {
    /// A member's clock runs at another rate, jumps, or shows another date.
    pub struct Clock {
        /// Whose clocks.
        target: Targets,
        /// Seconds of the clock per true second, as long as the fault lasts.
        rate: Ratio [0.01..=100.0] = 1.0,
        /// How far the monotonic clock jumps forward at the start (a resumed virtual machine).
        jump: Time = "0ms",
        /// How far the wall clock goes forward as long as the fault lasts.
        wall_ahead: Time = "0ms",
        /// How far the wall clock goes back as long as the fault lasts.
        wall_behind: Time = "0ms",
    }
    verify = Clock::verify;
}

impl Clock {
    fn verify(&self, reader: &Reader<'_>) -> Result<(), Problem> {
        let still = [self.jump, self.wall_ahead, self.wall_behind]
            .iter()
            .all(|time| *time == Time::ms(0));
        if self.rate == Ratio::one(1.0) && still {
            let message = "a clock fault needs a `rate`, `jump`, `wall_ahead` or `wall_behind`";
            return Err(reader.problem(message));
        }
        Ok(())
    }
}

impl FaultKind for Clock {
    fn clock(&self) -> Option<(f64, bool)> {
        Some((self.rate.high, self.jump.0.high > 0))
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let targets = self.target.members(world.members(), world.leader());
        trace::event("fault.clock", format_args!("{targets:?} {self:?}"));
        let ppm = (self.rate.value() * 1e6).round() as u64;
        let wall = self.wall_ahead.value() as i64 - self.wall_behind.value() as i64;
        for member in &targets {
            if ppm != 1_000_000 {
                world.change_clock(*member, ClockChange::Rate { ppm });
                trace::mark("fault.clock.rate");
            }
            if self.jump.value() > 0 {
                let jump = Duration::from_millis(self.jump.value());
                world.change_clock(*member, ClockChange::Jump(jump));
                trace::mark("fault.clock.jump");
            }
            if wall != 0 {
                trace::mark(match wall > 0 {
                    true => "fault.clock.wall-ahead",
                    false => "fault.clock.wall-behind",
                });
                world.change_clock(*member, ClockChange::StepWall { milliseconds: wall });
            }
        }
        Ongoing::Clocks(targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::end;
    use crate::fault::testing::RecordingWorld;
    use crate::scenario::target::Target;

    #[test]
    fn changes_what_was_asked_for_and_heals() {
        let clock = Clock {
            target: Targets::one(Target::Leader),
            rate: Ratio::one(1.25),
            jump: Time::ms(0),
            wall_ahead: Time::ms(10),
            wall_behind: Time::ms(70),
        };
        let mut world = RecordingWorld::new(Some(1));
        let ongoing = clock.begin(&mut world);
        end(ongoing, &mut world);
        let expected = [
            (1, ClockChange::Rate { ppm: 1_250_000 }),
            (1, ClockChange::StepWall { milliseconds: -60 }),
            (1, ClockChange::Heal),
        ];
        assert_eq!(world.clocks, expected);
    }
}
