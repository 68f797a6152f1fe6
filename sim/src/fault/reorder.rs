//! Some packets are held back, so that later ones overtake them.

use super::{FaultKind, Ongoing, World, begin_on_links, paths_of};
use crate::net::link::Effect;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::{Counts, Ratio};

settings! {
    /// Some packets to and from some members are held back, so that later ones overtake them.
    pub struct Reorder {
        /// Whose packets.
        target: Targets,
        /// How likely a packet is held back.
        probability: Ratio,
        /// For how long, in milliseconds; drawn for each packet.
        by_ms: Counts [1..=60_000] = (5, 200),
    }
}

impl FaultKind for Reorder {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let effect = Effect::Delay {
            probability: self.probability.value(),
            by_ms: self.by_ms.range(),
        };
        begin_on_links(
            world,
            "fault.reorder",
            paths_of(world, &self.target),
            effect,
        )
    }
}
