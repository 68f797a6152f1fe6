//! What the faults of members' storage have in common.

use super::{Ongoing, World};
use crate::disk::defects::{Defect, DiskFault, Part};
use crate::scenario::choice::choices;
use crate::scenario::target::Targets;

choices! {
    /// What is stored.
    pub enum Stored {
        /// Everything.
        All = "all",
        /// The raft log.
        Log = "log",
        /// The vote.
        Vote = "vote",
        /// The applied state.
        State = "state",
    }
}

impl Stored {
    fn part(self) -> Option<Part> {
        match self {
            Stored::All => None,
            Stored::Log => Some(Part::Log),
            Stored::Vote => Some(Part::Vote),
            Stored::State => Some(Part::State),
        }
    }
}

/// The storage of these members has a defect from now on, whose first effect leaves `mark`.
pub(super) fn begin_defects(
    world: &mut dyn World,
    target: &Targets,
    mark: &'static str,
    what: Stored,
    defect: Defect,
) -> Ongoing {
    let part = what.part();
    let mut begun = Vec::new();
    for member in target.members(world.members(), world.leader()) {
        if !defect.lies() || world.may_forget(member) {
            let defect = defect.clone();
            let fault = DiskFault { mark, part, defect };
            begun.push((member, world.begin_defect(member, fault)));
        }
    }
    Ongoing::Defects(begun)
}
