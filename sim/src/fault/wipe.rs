//! Members that come back with an empty disk.

use super::{FaultKind, Length, Ongoing, World};
use crate::disk::Loss;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::trace;

settings! {
    /// Members die, lose all that they have stored, and come back as who they were, which they
    /// must not be. Nothing is done to a member that the others rely on to remember.
    pub struct Wipe {
        /// Who loses everything.
        target: Targets,
    }
}

impl FaultKind for Wipe {
    fn length(&self) -> Length {
        Length::RestartAfter
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let mut wiped = Vec::new();
        for member in self.target.members(world.members(), world.leader()) {
            // It is refused when it comes back: the others must do without it, and that is all.
            if world.may_break(member) {
                world.crash(member, Loss::LoseUnsynced);
                world.wipe(member);
                trace::mark("fault.wipe");
                wiped.push(member);
            }
        }
        Ongoing::Down(wiped)
    }
}
