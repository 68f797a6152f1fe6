//! Members that are removed and added again.

use super::members::Order;
use super::{FaultKind, Ongoing, World};
use crate::run_facts::RefusalReasons;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::trace;
use std::time::Duration;

/// How often it is looked up whether somebody has left.
const POLL_EVERY: Duration = Duration::from_millis(200);

settings! {
    /// Members are removed, all at once; when each has left it is added again, with the same
    /// address, an empty disk and another id.
    pub struct Rejoin {
        /// Who is removed and added again.
        target: Targets,
    }
}

impl FaultKind for Rejoin {
    fn add_refusal_reasons(&self, refusal_reasons: &mut RefusalReasons) {
        refusal_reasons.joins = true;
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let members = world.named(&self.target);
        for member in &members {
            trace::event("fault.rejoin", format_args!("m{} is removed", member + 1));
            world.operate(Order::Remove { member: *member });
        }
        Ongoing::Rejoining(members)
    }

    fn go_on(&self, ongoing: &mut Ongoing, world: &mut dyn World) -> Option<Duration> {
        let Ongoing::Rejoining(members) = ongoing else {
            unreachable!("it began with removals")
        };
        members.retain(|member| {
            let left = world.has_departed(*member);
            if left {
                world.operate(Order::Rejoin { member: *member });
            }
            !left
        });
        (!members.is_empty()).then_some(POLL_EVERY)
    }
}
