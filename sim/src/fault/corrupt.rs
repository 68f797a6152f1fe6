//! Messages between members arrive with a bit flipped.

use super::{FaultKind, Ongoing, World, begin_on_links, paths_of};
use crate::net::link::Effect;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::Ratio;

settings! {
    /// Messages between members arrive with a bit flipped, which ends the connection. Clients'
    /// messages have no checksum but TLS's, and stay whole.
    pub struct Corrupt {
        /// Whose messages.
        target: Targets,
        /// How likely a message is damaged.
        probability: Ratio,
    }
}

impl FaultKind for Corrupt {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let effect = Effect::Corrupt(self.probability.value());
        begin_on_links(
            world,
            "fault.corrupt",
            paths_of(world, &self.target),
            effect,
        )
    }
}
