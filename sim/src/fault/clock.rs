//! A member's clock runs at another rate, jumps, or shows another date.

use super::{ClockChange, Ongoing, World};
use crate::rng::Rng;
use crate::scenario::reader::{Problem, Reader};
use crate::scenario::target::Target;
use crate::scenario::units::{Ratio, Span};
use crate::scenario::{time_line, units::Times};
use crate::trace;
use std::fmt;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Clock {
    target: Target,
    /// Seconds of the clock per true second, as long as the fault lasts.
    rate: Ratio,
    /// How far the monotonic clock jumps forward at the start (a resumed virtual machine).
    jump: Span,
    /// How far the wall clock goes forward or back as long as the fault lasts.
    wall_ahead: Span,
    wall_behind: Span,
}

impl Clock {
    pub fn read(reader: &Reader<'_>) -> Result<Clock, Problem> {
        let none = Span::one(0);
        let clock = Clock {
            target: Target::parse(reader, "target", reader.required_text("target")?)?,
            rate: reader.ratios("rate", Ratio::one(1.0), (0.01, 100.0))?,
            jump: reader.times("jump", none)?,
            wall_ahead: reader.times("wall_ahead", none)?,
            wall_behind: reader.times("wall_behind", none)?,
        };
        let still = [clock.jump, clock.wall_ahead, clock.wall_behind]
            .iter()
            .all(|s| *s == none);
        if clock.rate == Ratio::one(1.0) && still {
            let message = "a clock fault needs a `rate`, `jump`, `wall_ahead` or `wall_behind`";
            return Err(reader.problem(message));
        }
        Ok(clock)
    }

    pub fn draw(&self, members: usize, rng: &mut Rng) -> Clock {
        Clock {
            target: self.target.draw(members, rng),
            rate: self.rate.draw(rng),
            jump: self.jump.draw(rng),
            wall_ahead: self.wall_ahead.draw(rng),
            wall_behind: self.wall_behind.draw(rng),
        }
    }

    /// Its rate, and whether it jumps.
    pub fn effect(&self) -> (f64, bool) {
        (self.rate.high, self.jump.high > 0)
    }

    pub fn begin(&self, world: &mut dyn World) -> Ongoing {
        let targets = self.target.members(world.members(), world.leader());
        trace::event("fault.clock", format_args!("{targets:?} {self:?}"));
        let ppm = (self.rate.value() * 1e6).round() as u64;
        let wall = self.wall_ahead.value() as i64 - self.wall_behind.value() as i64;
        for member in &targets {
            if ppm != 1_000_000 {
                world.change_clock(*member, ClockChange::Rate { ppm });
            }
            if self.jump.value() > 0 {
                let jump = Duration::from_millis(self.jump.value());
                world.change_clock(*member, ClockChange::Jump(jump));
            }
            if wall != 0 {
                world.change_clock(*member, ClockChange::StepWall { milliseconds: wall });
            }
        }
        Ongoing::Clocks(targets)
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "kind = \"clock\"\ntarget = \"{}\"\nrate = {}",
            self.target, self.rate
        )?;
        time_line(f, "jump", self.jump)?;
        let Clock {
            wall_ahead,
            wall_behind,
            ..
        } = self;
        writeln!(
            f,
            "wall_ahead = {}\nwall_behind = {}",
            Times(*wall_ahead),
            Times(*wall_behind)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::end;
    use crate::fault::testing::Paper;

    #[test]
    fn changes_what_was_asked_for_and_heals() {
        let clock = Clock {
            target: Target::Leader,
            rate: Ratio::one(1.25),
            jump: Span::one(0),
            wall_ahead: Span::one(10),
            wall_behind: Span::one(70),
        };
        let mut world = Paper::new(Some(1));
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
