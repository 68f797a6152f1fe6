//! Members of another version of the protocol between members.

use super::reconfigure::restart;
use super::{FaultKind, Ongoing, World};
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;

settings! {
    /// Members are killed and started again as if of a later version, and of this one when the
    /// fault is over. Versions of the protocol between members do not mix: each refuses whoever
    /// speaks another one, so that an upgrade is whole or is taken back. There is one version of
    /// what is stored, so only the protocol differs.
    pub struct MixedVersions {
        /// Who is of the later version.
        target: Targets,
    }
}

impl FaultKind for MixedVersions {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let members = world.named(&self.target);
        change(&members, true, world);
        Ongoing::Upgraded(members)
    }
}

/// Starts the members again as of the later version, or of this one.
pub(super) fn change(members: &[usize], later: bool, world: &mut dyn World) {
    for member in members {
        world.upgrade(*member, later);
        restart(*member, world);
    }
}
