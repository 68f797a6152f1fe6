//! Warns before the data-dir's file system is full, which ends a member.

use detcd_core::limits::{
    FREE_BYTES_MIN, FREE_SPACE_AHEAD, FREE_SPACE_PERIOD, FREE_SPACE_RATE_WINDOW,
    FREE_SPACE_RELIEF_PERCENT,
};
use detcd_driver::Handle;
use detcd_rt::Instant;
use std::path::PathBuf;
use std::time::Duration;

const PERIOD: Duration = Duration::from_millis(FREE_SPACE_PERIOD.0);
const AHEAD: Duration = Duration::from_millis(FREE_SPACE_AHEAD.0);
const RATE_WINDOW: Duration = Duration::from_millis(FREE_SPACE_RATE_WINDOW.0);

/// Measures the file system of `folder` as long as it is polled.
pub(super) async fn watch(folder: PathBuf, handle: Handle) {
    let mut space = Space::default();
    let mut measured = Instant::now();
    loop {
        let path = folder.clone();
        let stat = detcd_rt::spawn_blocking(move || rustix::fs::statvfs(&path)).await;
        // What cannot be measured cannot be written either, and writes will say so.
        if let Ok(Ok(stat)) = stat {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let event = space.measured(free, measured.elapsed());
            measured = Instant::now();
            tell(&folder, free, &space, event);
            let stats = handle.stats();
            stats.disk_free.set(free);
            stats.disk_low.set(u64::from(space.is_low));
        }
        detcd_rt::sleep(PERIOD).await;
    }
}

fn tell(folder: &std::path::Path, free: u64, space: &Space, event: Option<SpaceEvent>) {
    let (data_dir, needed) = (folder.display(), space.needed());
    match event {
        Some(SpaceEvent::Low) => tracing::warn!(
            %data_dir,
            free_bytes = free,
            needed_bytes = needed,
            "the file system of the data-dir is nearly full, and the member ends when it is: free \
             or add space"
        ),
        Some(SpaceEvent::Relieved) => tracing::info!(
            %data_dir,
            free_bytes = free,
            "the file system of the data-dir has space again"
        ),
        None => {}
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SpaceEvent {
    Low,
    Relieved,
}

/// What is known of the space that is left.
#[derive(Debug, Default)]
struct Space {
    /// What was free at the last measurement.
    free: Option<u64>,
    /// How fast it gets less, in bytes per second; below zero if it gets more.
    rate: f64,
    is_low: bool,
}

impl Space {
    /// Takes in what is free, `passed` after the last time.
    fn measured(&mut self, free: u64, passed: Duration) -> Option<SpaceEvent> {
        if let Some(before) = self.free.replace(free)
            && !passed.is_zero()
        {
            let now = (before as f64 - free as f64) / passed.as_secs_f64();
            let weight = (passed.as_secs_f64() / RATE_WINDOW.as_secs_f64()).min(1.0);
            self.rate += (now - self.rate) * weight;
        }
        let needed = self.needed();
        let event = match self.is_low {
            false if free < needed => SpaceEvent::Low,
            true if free >= needed.saturating_mul(FREE_SPACE_RELIEF_PERCENT) / 100 => {
                SpaceEvent::Relieved
            }
            _ => return None,
        };
        self.is_low = event == SpaceEvent::Low;
        Some(event)
    }

    fn needed(&self) -> u64 {
        let ahead = self.rate.max(0.0) * AHEAD.as_secs_f64();
        FREE_BYTES_MIN.saturating_add(ahead as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_warning_comes_once_until_there_is_space_again() {
        let mut space = Space::default();
        let mut measured = |free| space.measured(free, Duration::ZERO);
        assert_eq!(measured(GIB), None);
        assert_eq!(measured(FREE_BYTES_MIN), None);
        assert_eq!(measured(FREE_BYTES_MIN - 1), Some(SpaceEvent::Low));
        assert_eq!(measured(FREE_BYTES_MIN - 2), None);
        assert_eq!(
            measured(FREE_BYTES_MIN + 1),
            None,
            "a little more is no relief"
        );
        assert_eq!(measured(0), None);
        assert_eq!(measured(GIB), Some(SpaceEvent::Relieved));
        assert_eq!(measured(1), Some(SpaceEvent::Low));
    }

    #[test]
    fn the_faster_it_gets_less_the_earlier_is_warned() {
        let mut space = Space::default();
        let rate = 50 << 20;
        let mut free = 100 * GIB;
        let mut seconds = 0;
        while space.measured(free, PERIOD).is_none() {
            free -= rate * PERIOD.as_secs();
            seconds += PERIOD.as_secs();
        }
        let left = Duration::from_secs(free / rate);
        assert!(
            left > AHEAD && left < 2 * AHEAD,
            "{left:?} after {seconds} s"
        );
    }

    #[test]
    fn a_moment_of_writing_is_no_trend() {
        let mut space = Space::default();
        assert_eq!(space.measured(3 * GIB, PERIOD), None);
        // A new segment of the log, allocated as a whole.
        assert_eq!(space.measured(3 * GIB - (64 << 20), PERIOD), None);
        for _ in 0..30 {
            assert_eq!(space.measured(3 * GIB - (64 << 20), PERIOD), None);
        }
        assert!(space.rate < 1e6, "{}", space.rate);
    }

    #[test]
    fn what_is_given_back_at_once_was_no_trend() {
        let mut space = Space::default();
        for _ in 0..100 {
            assert_eq!(space.measured(2 * GIB, PERIOD), None);
            assert_eq!(space.measured(2 * GIB - (200 << 20), PERIOD), None);
        }
    }
}
