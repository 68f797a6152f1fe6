//! Nothing gets through, and then all of it.

use super::{Direction, FaultKind, Ongoing, World, begin_on_links, directed_paths_of};
use crate::net::link::Effect;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;

settings! {
    /// What some members send or are sent stays on the way, and all of it arrives when the fault
    /// ends.
    pub struct Clog {
        /// Whose packets.
        target: Targets,
        /// Which way is clogged.
        direction: Direction = Direction::Both,
    }
}

impl FaultKind for Clog {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let paths = directed_paths_of(world, &self.target, self.direction);
        begin_on_links(world, "fault.clog", paths, Effect::Clog)
    }
}
