//! Members die at once, and lose what their disks had not synced.

use super::{Ongoing, World};
use crate::disk::Loss;
use crate::rng::Rng;
use crate::scenario::reader::{Problem, Reader};
use crate::scenario::target::Target;
use crate::trace;
use std::fmt;

#[derive(Clone, Debug)]
pub struct Crash {
    target: Target,
    /// `None` is any, drawn for the plan.
    disk: Option<Loss>,
}

impl Crash {
    pub fn read(reader: &Reader<'_>) -> Result<Crash, Problem> {
        let target = Target::parse(reader, "target", reader.required_text("target")?)?;
        let mut losses: Vec<(&'static str, Option<Loss>)> = Loss::ALL
            .iter()
            .map(|(name, loss)| (*name, Some(*loss)))
            .collect();
        losses.push(("any", None));
        Ok(Crash {
            target,
            disk: reader.choice("disk", &losses, Some(Loss::LoseUnsynced))?,
        })
    }

    pub fn draw(&self, members: usize, rng: &mut Rng) -> Crash {
        Crash {
            target: self.target.draw(members, rng),
            disk: self.disk,
        }
    }

    /// Draws what the disk loses, if that is open.
    pub fn settle_loss(&mut self, rng: &mut Rng) {
        if self.disk.is_none() {
            self.disk = Some(rng.pick(&Loss::ALL).1);
        }
    }

    pub fn begin(&self, world: &mut dyn World) -> Ongoing {
        let targets = self.target.members(world.members(), world.leader());
        let loss = self.disk.expect("a plan says what is lost");
        trace::event("fault.crash", format_args!("{targets:?} {loss:?}"));
        if targets.iter().any(|target| world.leader() == Some(*target)) {
            trace::mark("leader.crashed");
        }
        let mut down = targets;
        down.retain(|member| world.crash(*member, loss));
        Ongoing::Down(down)
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = Loss::ALL.iter().find(|(_, loss)| Some(*loss) == self.disk);
        let disk = disk.map_or("any", |(name, _)| name);
        writeln!(
            f,
            "kind = \"crash\"\ntarget = \"{}\"\ndisk = \"{disk}\"",
            self.target
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::end;
    use crate::fault::testing::Paper;

    #[test]
    fn only_who_was_alive_is_started_again() {
        let mut world = Paper::new(Some(2));
        assert!(world.crash(0, Loss::KeepAll));
        let crash = Crash {
            target: Target::All,
            disk: Some(Loss::Torn),
        };
        let ongoing = crash.begin(&mut world);
        assert!(matches!(&ongoing, Ongoing::Down(down) if down == &[1, 2]));
        end(ongoing, &mut world);
        assert!(world.down.contains(&0) && !world.down.contains(&1));
    }
}
