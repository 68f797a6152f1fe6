//! Packets to and from some members take longer.

use super::{FaultKind, Ongoing, World, begin_on_links, paths_of};
use crate::net::link::Effect;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::Counts;

settings! {
    /// Packets to and from some members take longer.
    pub struct Delay {
        /// Whose packets.
        target: Targets,
        /// How much longer, in milliseconds; drawn for each packet.
        by_ms: Counts [0..=600_000],
    }
}

impl FaultKind for Delay {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let paths = paths_of(world, &self.target);
        let effect = Effect::Delay {
            probability: 1.0,
            by_ms: self.by_ms.range(),
        };
        begin_on_links(world, "fault.delay", paths, effect)
    }
}
