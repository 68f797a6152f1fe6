//! Packets to and from some members take longer.

use super::{Ongoing, World, begin_on_links, paths_of};
use crate::net::link::Effect;
use crate::rng::Rng;
use crate::scenario::reader::{Problem, Reader};
use crate::scenario::target::Target;
use crate::scenario::units::Span;
use crate::trace;
use std::fmt;

#[derive(Clone, Debug)]
pub struct Delay {
    target: Target,
    /// Drawn for each packet.
    by_ms: Span,
}

impl Delay {
    pub fn read(reader: &Reader<'_>) -> Result<Delay, Problem> {
        let target = Target::parse(reader, "target", reader.required_text("target")?)?;
        if !reader.has("by_ms") {
            return Err(reader.problem("a delay needs `by_ms`"));
        }
        Ok(Delay {
            target,
            by_ms: reader.numbers("by_ms", Span::one(0))?,
        })
    }

    pub fn draw(&self, members: usize, rng: &mut Rng) -> Delay {
        Delay {
            target: self.target.draw(members, rng),
            by_ms: self.by_ms,
        }
    }

    pub fn begin(&self, world: &mut dyn World) -> Ongoing {
        let paths = paths_of(world, &self.target);
        trace::event("fault.delay", format_args!("{paths:?} {}", self.by_ms));
        begin_on_links(world, paths, Effect::Delay(self.by_ms.range()))
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "kind = \"delay\"\ntarget = \"{}\"\nby_ms = {}",
            self.target, self.by_ms
        )
    }
}
