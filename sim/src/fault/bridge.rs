//! Two halves that know of each other only through one member.

use super::{FaultKind, Ongoing, World, begin_on_links};
use crate::net::link::Effect;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;

settings! {
    /// The members fall into two halves, which only the bridge reaches.
    pub struct Bridge {
        /// Who reaches both halves.
        target: Targets,
    }
}

impl FaultKind for Bridge {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let bridge = self.target.members(world.members(), world.leader());
        let others: Vec<usize> = (0..world.members())
            .filter(|member| !bridge.contains(member))
            .collect();
        let (one, other) = others.split_at(others.len() / 2);
        let mut cut = Vec::new();
        for a in one {
            for b in other {
                let (a, b) = (world.host(*a), world.host(*b));
                cut.extend([(a, b), (b, a)]);
            }
        }
        begin_on_links(world, "fault.bridge", cut, Effect::Cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::testing::RecordingWorld;
    use crate::scenario::target::Target;

    #[test]
    fn the_leader_is_a_bridge_between_the_others() {
        let mut world = RecordingWorld::new(Some(1));
        let target = Targets::one(Target::Leader);
        Bridge { target }.begin(&mut world);
        assert_eq!(world.cuts(), [(0, 2), (2, 0)]);
    }
}
