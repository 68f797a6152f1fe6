//! Little gets through at a time.

use super::{FaultKind, Ongoing, World, begin_on_links, paths_of};
use crate::net::link::Effect;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::Count;

settings! {
    /// Each direction of each link between some members and the others carries only so much; the
    /// rest waits, and what would wait for more than three seconds is lost.
    pub struct Bandwidth {
        /// Whose links.
        target: Targets,
        /// Bytes a second.
        bytes_per_s: Count [100..=1_000_000_000],
    }
}

impl FaultKind for Bandwidth {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let effect = Effect::Bandwidth(self.bytes_per_s.value());
        let paths = paths_of(world, &self.target);
        begin_on_links(world, "fault.bandwidth", paths, effect)
    }
}
