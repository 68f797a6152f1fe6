//! Connections are reset under way.

use super::{FaultKind, Length, Ongoing, World};
use crate::net::link::Paths;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::trace;

settings! {
    /// All connections of some members, with peers and with clients, are reset at once, and both
    /// ends learn of it.
    pub struct Reset {
        /// Whose connections.
        target: Targets,
    }
}

impl FaultKind for Reset {
    fn length(&self) -> Length {
        Length::Instant
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let mut broken = 0;
        for member in self.target.members(world.members(), world.leader()) {
            let host = world.host(member);
            let others = (0..world.members()).filter(|other| *other != member);
            let peers = others.map(|other| (host, world.host(other))).collect();
            let clients = Paths::Clients {
                members: vec![host],
                requests: true,
                answers: true,
            };
            broken += world.net().reset(&Paths::Pairs(peers)) + world.net().reset(&clients);
        }
        if broken > 0 {
            trace::mark("fault.reset");
        }
        Ongoing::Nothing
    }
}
