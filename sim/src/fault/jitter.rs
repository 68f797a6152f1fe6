//! Packets to and from some members take longer, each by another time.

use super::{FaultKind, Ongoing, World, begin_on_links, paths_of};
use crate::net::link::Effect;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::Count;

settings! {
    /// Packets to and from some members take longer, each by another time: calls overtake each
    /// other.
    pub struct Jitter {
        /// Whose packets.
        target: Targets,
        /// The most that a packet is late, in milliseconds.
        up_to_ms: Count [1..=60_000],
    }
}

impl FaultKind for Jitter {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let by_ms = 0..=self.up_to_ms.value();
        let effect = Effect::Delay {
            probability: 1.0,
            by_ms,
        };
        begin_on_links(world, "fault.jitter", paths_of(world, &self.target), effect)
    }
}
