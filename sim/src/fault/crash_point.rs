//! Members die at a point of what they do to their storage.

use super::{FaultKind, Ongoing, Trap, World};
use crate::disk::Loss;
use crate::disk::trap::{Point, Side};
use crate::scenario::choice::{Choice, OneOf};
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::{Count, Time};

settings! {
    /// Members die when they come to a point of what they do to their storage, and start again.
    /// They live if they do not come there before the fault is over.
    pub struct CrashPoint {
        /// Who dies.
        target: Targets,
        /// What they are doing.
        point: OneOf<Point>,
        /// Whether they die before or after they have done it.
        side: OneOf<Side>,
        /// How often they do it unharmed before that.
        skip: Count [0..=1_000_000] = 0,
        /// How long they are dead.
        down: Time [1..=600_000] = ("10ms", "1s"),
        /// What becomes of writes that were not synced.
        disk: OneOf<Loss> = Loss::LoseUnsynced,
    }
}

impl Choice for Point {
    fn words() -> Vec<(&'static str, Point)> {
        vec![
            ("vote-save", Point::VoteSave),
            ("append", Point::Append),
            ("sync", Point::Sync),
            ("apply", Point::Apply),
            ("membership-commit", Point::Membership),
            ("persist", Point::Persist),
            ("snapshot-install", Point::SnapshotInstall),
        ]
    }
}

impl Choice for Side {
    fn words() -> Vec<(&'static str, Side)> {
        vec![("before", Side::Before), ("after", Side::After)]
    }
}

impl FaultKind for CrashPoint {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let members = self.target.members(world.members(), world.leader());
        for member in &members {
            let trap = Trap {
                point: *self.point.value(),
                side: *self.side.value(),
                skip: self.skip.value(),
                loss: *self.disk.value(),
                down: self.down.duration(),
            };
            world.arm(*member, trap);
        }
        Ongoing::Armed(members)
    }
}
