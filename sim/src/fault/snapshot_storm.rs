//! Members that have to be sent the whole state again and again.

use super::load::{self, ExtraLoadId};
use super::{FaultKind, Ongoing, World};
use crate::net::Host;
use crate::net::link::{Effect, FaultId, LinkFault, Paths};
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::{Count, Time};
use crate::trace;
use std::time::Duration;

settings! {
    /// Members are cut off one after the other, again and again, while writers press, until the
    /// log that they miss is purged: each comes back through a snapshot, for which the next one
    /// waits a while.
    pub struct SnapshotStorm {
        /// Who takes turns.
        target: Targets,
        /// How long each is cut off.
        away: Time [1..=600_000] = ("500ms", "2s"),
        /// What passes before the next one is, at the least.
        back: Time [1..=600_000] = ("300ms", "1s"),
        /// How many writers press.
        writers: Count [1..=1000] = 6,
    }
}

/// A storm that goes on.
#[derive(Debug)]
pub struct Storm {
    members: Vec<usize>,
    next: usize,
    cut: Option<FaultId>,
    extra_load: ExtraLoadId,
    /// How many snapshots had been installed when it began.
    installed_before: u64,
    /// How many had been when the last one was cut off.
    installed_at_cut: u64,
    /// How long that one has been back.
    back_for: Duration,
    is_recorded: bool,
}

/// The state must be on its way within this time. Whoever tries to connect to a member that is cut
/// off tries again more and more rarely.
const BACK_MAX: Duration = Duration::from_secs(4);

/// So many installed snapshots in one fault are a storm.
const STORM_MIN: u64 = 2;

impl FaultKind for SnapshotStorm {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        Ongoing::SnapshotStorm(Storm {
            members: world.named(&self.target),
            next: 0,
            cut: None,
            extra_load: world.start_load(load::writers(self.writers.value())),
            installed_before: installed(),
            installed_at_cut: installed(),
            back_for: BACK_MAX,
            is_recorded: false,
        })
    }

    fn go_on(&self, ongoing: &mut Ongoing, world: &mut dyn World) -> Option<Duration> {
        let Ongoing::SnapshotStorm(storm) = ongoing else {
            unreachable!("it began as a storm")
        };
        storm.check_reached();
        if let Some(cut) = storm.cut.take() {
            world.net().change_links(|links| links.end(cut));
            storm.back_for = Duration::ZERO;
            return Some(self.back.duration());
        }
        storm.back_for += self.back.duration();
        if installed() == storm.installed_at_cut && storm.back_for < BACK_MAX {
            return Some(self.back.duration());
        }
        let member = *storm.members.get(storm.next % storm.members.len().max(1))?;
        storm.next += 1;
        let fault = LinkFault {
            mark: "fault.snapshot-storm.cut",
            paths: Paths::Pairs(paths(world, member)),
            effect: Effect::Cut,
        };
        storm.installed_at_cut = installed();
        storm.cut = Some(world.net().change_links(|links| links.begin(fault)));
        Some(self.away.duration())
    }
}

impl Storm {
    /// Leaves the mark once snapshots were really installed.
    fn check_reached(&mut self) {
        if !self.is_recorded && installed() >= self.installed_before + STORM_MIN {
            self.is_recorded = true;
            trace::mark("fault.snapshot-storm");
        }
    }

    pub(super) fn end(mut self, world: &mut dyn World) {
        self.check_reached();
        if let Some(cut) = self.cut {
            world.net().change_links(|links| links.end(cut));
        }
        world.stop_load(self.extra_load);
    }
}

fn installed() -> u64 {
    trace::count("snapshot.installed")
}

/// Between a member and all the others.
fn paths(world: &dyn World, member: usize) -> Vec<(Host, Host)> {
    let host = world.host(member);
    let others = (0..world.members()).filter(|other| *other != member);
    let others = others.map(|other| world.host(other));
    others
        .flat_map(|other| [(host, other), (other, host)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::end;
    use crate::fault::testing::RecordingWorld;
    use crate::scenario::target::Target;

    #[test]
    fn they_take_turns_and_nobody_stays_cut_off() {
        let mut world = RecordingWorld::new(Some(0));
        let storm = SnapshotStorm {
            target: Targets::one(Target::Minority),
            away: Time::ms(10),
            back: Time::ms(10),
            writers: Count::one(2),
        };
        let mut ongoing = storm.begin(&mut world);
        storm.go_on(&mut ongoing, &mut world);
        assert_eq!(world.cuts(), [(0, 1), (1, 0), (1, 2), (2, 1)]);
        storm.go_on(&mut ongoing, &mut world);
        assert_eq!(world.cuts(), []);
        // Nobody installs anything here: the next one waits as long as it may.
        let waits = BACK_MAX.as_millis() / 10;
        for _ in 1..waits {
            storm.go_on(&mut ongoing, &mut world);
        }
        assert_eq!(world.cuts(), []);
        storm.go_on(&mut ongoing, &mut world);
        assert_ne!(world.cuts(), []);
        end(ongoing, &mut world);
        assert_eq!(world.cuts(), []);
        assert_eq!(world.acts, ["press", "relieve 0"]);
    }
}
