//! Clients cannot reach a member that its peers reach.

use super::{Direction, FaultKind, Ongoing, World};
use crate::net::link::{Effect, LinkFault, Paths};
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;

settings! {
    /// Clients are cut off from some members, which reach each other as before.
    pub struct ClientCut {
        /// From whom.
        target: Targets,
        /// Which way is cut: what comes `in` to the member is requests, what goes `out` answers.
        direction: Direction = Direction::Both,
    }
}

impl FaultKind for ClientCut {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let members = self.target.members(world.members(), world.leader());
        let fault = LinkFault {
            mark: "fault.client-cut",
            paths: Paths::Clients {
                members: members.iter().map(|member| world.host(*member)).collect(),
                requests: self.direction != Direction::Out,
                answers: self.direction != Direction::In,
            },
            effect: Effect::Cut,
        };
        Ongoing::Links(vec![world.net().change_links(|links| links.begin(fault))])
    }
}
