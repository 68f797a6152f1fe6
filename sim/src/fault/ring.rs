//! Everybody hears a majority, and no two the same one.

use super::{FaultKind, Ongoing, World, begin_on_links};
use crate::net::link::Effect;
use crate::scenario::choice::choices;
use crate::scenario::settings::settings;

settings! {
    /// The members stand in a ring, and each hears only as many of those next to it as make a
    /// majority with itself: no two hear the same.
    pub struct Ring {
        /// Whom each member hears.
        hears: Neighbours = Neighbours::Next,
    }
}

choices! {
    /// Which way round the ring.
    pub enum Neighbours {
        /// Those after it.
        Next = "next",
        /// Those before it.
        Previous = "previous",
    }
}

impl FaultKind for Ring {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let members = world.members();
        let mut cut = Vec::new();
        for to in 0..members {
            for ahead in members / 2 + 1..members {
                let from = match self.hears {
                    Neighbours::Next => (to + ahead) % members,
                    Neighbours::Previous => (to + members - ahead) % members,
                };
                cut.push((world.host(from), world.host(to)));
            }
        }
        begin_on_links(world, "fault.ring", cut, Effect::Cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::testing::RecordingWorld;

    #[test]
    fn of_three_each_hears_one_other() {
        for (hears, expected) in [
            (Neighbours::Next, [(0, 1), (1, 2), (2, 0)]),
            (Neighbours::Previous, [(0, 2), (1, 0), (2, 1)]),
        ] {
            let mut world = RecordingWorld::new(None);
            Ring { hears }.begin(&mut world);
            assert_eq!(world.cuts(), expected);
        }
    }
}
