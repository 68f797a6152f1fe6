//! Requests that bear it arrive twice.

use super::{FaultKind, Ongoing, World, begin_on_links, paths_of};
use crate::net::link::Effect;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::Ratio;

settings! {
    /// Raft's requests to and from some members arrive twice. Proposals never do: no transport
    /// doubles them, and each would be a proposal of its own.
    pub struct Duplicate {
        /// Whose requests.
        target: Targets,
        /// How likely a request is doubled.
        probability: Ratio,
    }
}

impl FaultKind for Duplicate {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let effect = Effect::Duplicate(self.probability.value());
        let paths = paths_of(world, &self.target);
        begin_on_links(world, "fault.duplicate", paths, effect)
    }
}
