//! Groups of members that cannot reach each other, in both directions or in one.

use super::{FaultKind, Ongoing, World, begin_on_links};
use crate::net::Host;
use crate::net::link::Effect;
use crate::scenario::choice::choices;
use crate::scenario::settings::settings;
use crate::scenario::target::Split;

settings! {
    /// Groups of members that cannot reach each other, in both directions or in one.
    pub struct Partition {
        /// The groups; `rest` is whoever no other group names.
        split: Split,
        /// Which way is cut.
        direction: Direction = Direction::Both,
    }
}

choices! {
    /// Which way is cut, as the first group sees it.
    pub enum Direction {
        /// Nothing gets from any group into any other.
        Both = "both",
        /// Nothing gets into the first group.
        In = "in",
        /// Nothing gets out of the first group.
        Out = "out",
    }
}

impl FaultKind for Partition {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let groups = self.split.groups(world.members(), world.leader());
        let mut paths: Vec<(Host, Host)> = Vec::new();
        for (a, group) in groups.iter().enumerate() {
            for (b, other) in groups.iter().enumerate() {
                let cut = match self.direction {
                    Direction::Both => a != b,
                    Direction::In => a != b && b == 0,
                    Direction::Out => a != b && a == 0,
                };
                if cut {
                    let pairs = group
                        .iter()
                        .flat_map(|from| other.iter().map(move |to| (from, to)));
                    paths.extend(pairs.map(|(from, to)| (world.host(*from), world.host(*to))));
                }
            }
        }
        begin_on_links(world, "fault.partition", paths, Effect::Cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::end;
    use crate::fault::testing::RecordingWorld;
    use crate::scenario::target::Target;

    fn cuts(direction: Direction) -> Vec<(usize, usize)> {
        let split = Split::of(vec![vec![Target::Leader], vec![Target::Rest]]);
        let mut world = RecordingWorld::new(Some(1));
        let ongoing = Partition { split, direction }.begin(&mut world);
        let cuts = world.cuts();
        end(ongoing, &mut world);
        assert!(world.cuts().is_empty());
        cuts
    }

    #[test]
    fn cuts_the_ways_between_the_groups_and_heals_them() {
        assert_eq!(cuts(Direction::Both), [(0, 1), (1, 0), (1, 2), (2, 1)]);
        assert_eq!(cuts(Direction::In), [(0, 1), (2, 1)]);
        assert_eq!(cuts(Direction::Out), [(1, 0), (1, 2)]);
    }
}
