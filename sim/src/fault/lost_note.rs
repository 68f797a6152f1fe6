//! Members that lose what tells the end of their logs.

use super::{FaultKind, Length, Ongoing, World};
use crate::disk::Loss;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::trace;

settings! {
    /// Members lose their power, and come back with a log whose end is blank and without the note of how
    /// far it was synced: they cannot know what they have acknowledged, and must not take part.
    /// Nothing is done to a member without whom no majority would be whole.
    pub struct LostNote {
        /// Who loses both.
        target: Targets,
    }
}

impl FaultKind for LostNote {
    fn length(&self) -> Length {
        Length::RestartAfter
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let mut robbed = Vec::new();
        for member in self.target.members(world.members(), world.leader()) {
            if world.may_break(member) {
                world.crash(member, Loss::LoseUnsynced);
                if world.lose_note(member) {
                    trace::mark("fault.lost-note");
                }
                robbed.push(member);
            }
        }
        Ongoing::Down(robbed)
    }
}
