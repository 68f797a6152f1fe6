//! One side of a connection is gone, and the other does not know.

use super::{FaultKind, Length, Ongoing, World};
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::trace;

settings! {
    /// Some members lose what they know of their connections, with peers and with clients; the
    /// other ends hold them for open until they send, or until nothing came for too long.
    pub struct HalfOpen {
        /// Who forgets.
        target: Targets,
    }
}

impl FaultKind for HalfOpen {
    fn length(&self) -> Length {
        Length::Instant
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let members = self.target.members(world.members(), world.leader());
        let forgotten: usize = members
            .iter()
            .map(|member| world.net().forget(world.host(*member)))
            .sum();
        if forgotten > 0 {
            trace::mark("fault.half-open");
        }
        Ongoing::Nothing
    }
}
