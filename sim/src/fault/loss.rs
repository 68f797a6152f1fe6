//! Packets to and from some members are lost more often.

use super::{Ongoing, World, begin_on_links, paths_of};
use crate::net::link::Effect;
use crate::rng::Rng;
use crate::scenario::reader::{Problem, Reader};
use crate::scenario::target::Target;
use crate::scenario::units::Ratio;
use crate::trace;
use std::fmt;

#[derive(Clone, Debug)]
pub struct Loss {
    target: Target,
    probability: Ratio,
}

impl Loss {
    pub fn read(reader: &Reader<'_>) -> Result<Loss, Problem> {
        let target = Target::parse(reader, "target", reader.required_text("target")?)?;
        if !reader.has("probability") {
            return Err(reader.problem("a loss needs a `probability`"));
        }
        let probability = reader.ratios("probability", Ratio::one(0.0), (0.0, 1.0))?;
        Ok(Loss {
            target,
            probability,
        })
    }

    pub fn draw(&self, members: usize, rng: &mut Rng) -> Loss {
        Loss {
            target: self.target.draw(members, rng),
            probability: self.probability.draw(rng),
        }
    }

    pub fn begin(&self, world: &mut dyn World) -> Ongoing {
        let paths = paths_of(world, &self.target);
        trace::event("fault.loss", format_args!("{paths:?} {}", self.probability));
        begin_on_links(world, paths, Effect::Loss(self.probability.value()))
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kind = \"loss\"\ntarget = \"{}\"", self.target)?;
        writeln!(f, "probability = {}", self.probability)
    }
}
