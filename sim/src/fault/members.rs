//! The membership changes: operators add, remove, replace and move members, and hand leadership
//! over, through the same requests that `detcdctl` sends. They try until it is done or a minute is
//! over, so that what else goes wrong meanwhile meets a change under way.

use super::{FaultKind, Length, Ongoing, World};
use crate::disk::Loss;
use crate::run_facts::RefusalReasons;
use crate::scenario::choice::OneOf;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::trace;

/// One task for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Adds a member; a learner may be promoted once it has caught up.
    Add {
        learner: bool,
        promote: bool,
    },
    Remove {
        member: usize,
    },
    /// A member that is lost for good is removed, and another takes its place; at its address or
    /// at a new one.
    Replace {
        member: usize,
        same_address: bool,
    },
    /// A member that has left is added again: the same address, an empty disk, another id.
    Rejoin {
        member: usize,
    },
    /// Alarms are disarmed until there are none.
    Disarm,
    /// A member moves to another address.
    UpdateAddress {
        member: usize,
    },
    MoveLeader {
        to: usize,
    },
}

settings! {
    /// A new member is added and joins; or a learner, which may be promoted.
    pub struct Add {
        /// Whether it is added as a learner.
        learner: OneOf<bool> = false,
        /// Whether the learner is promoted as soon as it has caught up.
        promote: OneOf<bool> = false,
    }
}

settings! {
    /// Members are removed, all at once, and stop when they learn of it.
    pub struct Remove {
        /// Who is removed.
        target: Targets,
    }
}

settings! {
    /// Members are lost with their disks; each is removed, and another takes its place.
    /// Nothing is done to a member without whom no majority would be whole.
    pub struct Replace {
        /// Who is lost.
        target: Targets,
        /// Whether the new member has the address of the lost one.
        same_address: OneOf<bool> = true,
    }
}

settings! {
    /// Members move to other addresses, and the others are told.
    pub struct UpdateAddress {
        /// Who moves.
        target: Targets,
    }
}

settings! {
    /// The leader is told to hand leadership over.
    pub struct MoveLeader {
        /// To whom.
        to: Targets,
    }
}

impl FaultKind for Add {
    fn length(&self) -> Length {
        Length::Instant
    }

    fn add_refusal_reasons(&self, refusal_reasons: &mut RefusalReasons) {
        refusal_reasons.joins = true;
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let (learner, promote) = (*self.learner.value(), *self.promote.value());
        trace::event("fault.add", format_args!("learner {learner}"));
        world.operate(Order::Add { learner, promote });
        Ongoing::Nothing
    }
}

impl FaultKind for Remove {
    fn length(&self) -> Length {
        Length::Instant
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        for member in world.named(&self.target) {
            trace::event("fault.remove", format_args!("m{}", member + 1));
            if world.leader() == Some(member) {
                trace::mark("fault.remove-leader");
            }
            world.operate(Order::Remove { member });
        }
        Ongoing::Nothing
    }
}

impl FaultKind for Replace {
    fn length(&self) -> Length {
        Length::Instant
    }

    fn add_refusal_reasons(&self, refusal_reasons: &mut RefusalReasons) {
        refusal_reasons.joins = true;
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let same_address = *self.same_address.value();
        for member in world.named(&self.target) {
            if !world.may_break(member) {
                continue;
            }
            trace::event("fault.replace", format_args!("m{}", member + 1));
            world.crash(member, Loss::LoseUnsynced);
            world.operate(Order::Replace {
                member,
                same_address,
            });
        }
        Ongoing::Nothing
    }
}

impl FaultKind for UpdateAddress {
    fn length(&self) -> Length {
        Length::Instant
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        for member in world.named(&self.target) {
            trace::event("fault.move", format_args!("m{}", member + 1));
            world.operate(Order::UpdateAddress { member });
        }
        Ongoing::Nothing
    }
}

impl FaultKind for MoveLeader {
    fn length(&self) -> Length {
        Length::Instant
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let to = self.to.members(world.members(), world.leader());
        for to in to.into_iter().take(1) {
            trace::event("fault.move-leader", format_args!("to m{}", to + 1));
            world.operate(Order::MoveLeader { to });
        }
        Ongoing::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::testing::RecordingWorld;
    use crate::scenario::target::Target;

    #[test]
    fn each_target_has_an_operator() {
        let mut world = RecordingWorld::new(Some(2));
        let target = Targets::one(Target::Minority);
        Remove { target }.begin(&mut world);
        assert_eq!(world.orders, [Order::Remove { member: 0 }]);
    }

    #[test]
    fn who_is_needed_is_not_replaced() {
        let mut world = RecordingWorld::new(Some(2));
        world.spared = Some(2);
        let replace = Replace {
            target: Targets::one(Target::All),
            same_address: OneOf::one(false),
        };
        replace.begin(&mut world);
        assert_eq!((world.orders.len(), &world.down[..]), (2, &[0, 1][..]));
    }

    #[test]
    fn who_is_replaced_is_dead() {
        let mut world = RecordingWorld::new(Some(2));
        let replace = Replace {
            target: Targets::one(Target::Leader),
            same_address: OneOf::one(false),
        };
        replace.begin(&mut world);
        let order = Order::Replace {
            member: 2,
            same_address: false,
        };
        assert_eq!(
            (&world.orders[..], &world.down[..]),
            (&[order][..], &[2][..])
        );
    }
}
