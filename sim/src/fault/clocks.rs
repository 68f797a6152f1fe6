//! Faults of members' clocks.

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
        let targets = world.named(&self.target);
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
        let targets = world.named(&self.target);
        for member in &targets {
            world.change_clock(*member, ClockChange::Rate { ppm: 1 });
            trace::mark("fault.freeze");
        }
        Ongoing::Clocks(targets)
    }
}

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
            members: world.named(&self.target),
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
