//! Bits that flip in what was stored long ago.

use super::{FaultKind, Length, Ongoing, World};
use crate::disk::defects::Part;
use crate::scenario::choice::{OneOf, choices};
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::Count;
use crate::trace;

settings! {
    /// Bits flip in what some members have stored, synced or not. A member that finds it may stop
    /// for good, or refuse to start; it never goes on as if it were right.
    /// Nothing is done to a member without whom no majority would be whole.
    pub struct BitRot {
        /// Whose storage.
        target: Targets,
        /// What rots.
        part: OneOf<Rotting>,
        /// How many bits flip; of the state, how many rows are lost is one.
        bits: Count [1..=1000] = 1,
    }
}

choices! {
    /// What can rot.
    pub enum Rotting {
        /// The raft log's files.
        Log = "log",
        /// The file of the vote, which has four copies.
        Vote = "vote",
        /// A row of the applied state.
        State = "state",
    }
}

impl FaultKind for BitRot {
    fn length(&self) -> Length {
        Length::Instant
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let part = match self.part.value() {
            Rotting::Log => Part::Log,
            Rotting::Vote => Part::Vote,
            Rotting::State => Part::State,
        };
        for member in self.target.members(world.members(), world.leader()) {
            if world.may_break(member) && world.rot(member, part, self.bits.value()) > 0 {
                trace::mark("fault.bit-rot");
            }
        }
        Ongoing::Nothing
    }
}
