//! Packets to and from some members are lost more often.

use super::{FaultKind, Ongoing, World, begin_on_links, paths_of};
use crate::net::link::Effect;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::Ratio;

settings! {
    /// Packets to and from some members are lost more often.
    pub struct Loss {
        /// Whose packets.
        target: Targets,
        /// How likely each is lost.
        probability: Ratio,
    }
}

impl FaultKind for Loss {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let paths = paths_of(world, &self.target);
        let effect = Effect::Loss(self.probability.value());
        begin_on_links(world, "fault.loss", paths, effect)
    }
}
