//! One way between two members is as bad as a bad line across an ocean.

use super::{FaultKind, Ongoing, World, begin_on_links};
use crate::net::link::Effect;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::{Count, Counts};

settings! {
    /// The links between two groups of members, and no others, are slow and narrow.
    pub struct SlowLink {
        /// The members at one end.
        from: Targets,
        /// The members at the other end.
        to: Targets,
        /// How much longer a packet takes, in milliseconds; drawn for each.
        by_ms: Counts [0..=60_000] = (100, 300),
        /// Bytes a second in each direction.
        bytes_per_s: Count [100..=1_000_000_000] = 50_000,
    }
}

impl FaultKind for SlowLink {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let named = |targets: &Targets| targets.members(world.members(), world.leader());
        let (ones, others) = (named(&self.from), named(&self.to));
        let mut paths = Vec::new();
        for one in &ones {
            for other in others.iter().filter(|other| *other != one) {
                let (one, other) = (world.host(*one), world.host(*other));
                paths.extend([(one, other), (other, one)]);
            }
        }
        let late = Effect::Delay {
            probability: 1.0,
            by_ms: self.by_ms.range(),
        };
        let narrow = Effect::Bandwidth(self.bytes_per_s.value());
        let late = begin_on_links(world, "fault.slow-link", paths.clone(), late);
        late.and(begin_on_links(world, "fault.slow-link", paths, narrow))
    }
}
