//! Members are restarted one after the other.

use super::{FaultKind, Ongoing, World};
use crate::disk::Loss;
use crate::scenario::settings::settings;
use crate::scenario::units::Time;
use crate::trace;
use std::time::Duration;

settings! {
    /// Every member is restarted, one after the other, as an upgrade does it.
    pub struct RollingRestart {
        /// How long each is down.
        down: Time [1..=600_000] = ("50ms", "1s"),
        /// How long the cluster is left alone before the next.
        pause: Time [1..=600_000] = ("1s", "3s"),
    }
}

impl FaultKind for RollingRestart {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let last = world.members();
        trace::event("fault.rolling", format_args!("{last} members"));
        Ongoing::Rolling {
            next: 0,
            last,
            down: None,
        }
    }

    fn go_on(&self, ongoing: &mut Ongoing, world: &mut dyn World) -> Option<Duration> {
        let Ongoing::Rolling { next, last, down } = ongoing else {
            unreachable!("it began as a rolling restart")
        };
        if let Some(member) = down.take() {
            world.start(member);
            if next == last {
                trace::mark("fault.rolling-restart");
                return None;
            }
            return Some(self.pause.duration());
        }
        let member = *next;
        *next += 1;
        // Who is down already is not restarted twice, and stays down for whoever took it down.
        *down = world.crash(member, Loss::KeepAll).then_some(member);
        match (&down, next == last) {
            (None, true) => None,
            _ => Some(self.down.duration()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::end;
    use crate::fault::testing::RecordingWorld;

    #[test]
    fn one_is_down_at_a_time_and_all_were() {
        let mut world = RecordingWorld::new(Some(0));
        let rolling = RollingRestart {
            down: Time::ms(1),
            pause: Time::ms(5),
        };
        let mut ongoing = rolling.begin(&mut world);
        let mut were_down = Vec::new();
        while rolling.go_on(&mut ongoing, &mut world).is_some() {
            assert!(world.down.len() <= 1, "{:?}", world.down);
            were_down.extend(world.down.first().copied());
        }
        assert_eq!((were_down, &world.down[..]), (vec![0, 1, 2], &[][..]));
    }

    #[test]
    fn its_end_leaves_nobody_down() {
        let mut world = RecordingWorld::new(Some(0));
        let rolling = RollingRestart {
            down: Time::ms(1),
            pause: Time::ms(5),
        };
        let mut ongoing = rolling.begin(&mut world);
        rolling.go_on(&mut ongoing, &mut world);
        assert_eq!(world.down, [0]);
        end(ongoing, &mut world);
        assert!(world.down.is_empty());
    }
}
