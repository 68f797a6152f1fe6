//! Members that come back with what they had stored some time ago.

use super::{FaultKind, Ongoing, World};
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;

settings! {
    /// What some members have stored is copied when the fault begins. When it ends they die, and
    /// come back with the copy: as who they were, but having forgotten what they promised since.
    /// Nothing is done to a member that the others rely on to remember.
    pub struct OldDisk {
        /// Whose storage.
        target: Targets,
    }
}

impl FaultKind for OldDisk {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let members = self
            .target
            .members(world.members(), world.leader())
            .into_iter();
        Ongoing::Copied(
            members
                .map(|member| (member, world.backup(member)))
                .collect(),
        )
    }
}
