//! Warns before the data-dir's file system is full, which ends a member.

use detcd_driver::Handle;
use detcd_rt::Instant;
use std::path::PathBuf;
use std::time::Duration;

/// How often is looked.
const PERIOD: Duration = Duration::from_secs(2);
/// So much has to be free at any time: a segment of the log, a journal of the store, and what
/// merging its tables takes meanwhile.
const FREE_BYTES_MIN: u64 = 256 * 1024 * 1024;
/// For so long must the rest do, at the rate of the last minute.
const AHEAD: Duration = Duration::from_secs(5 * 60);
const RATE_WINDOW: Duration = Duration::from_secs(60);
/// How much more than what is needed has to be free until the next warning may come, in percent.
const RELIEF_PERCENT: u64 = 125;

/// Looks at the file system of `folder` as long as it is polled.
pub(super) async fn watch(folder: PathBuf, handle: Handle) {
    let mut space = Space::default();
    let mut looked = Instant::now();
    loop {
        let path = folder.clone();
        let stat = detcd_rt::spawn_blocking(move || rustix::fs::statvfs(&path)).await;
        // What cannot be looked at cannot be written either, and writes will say so.
        if let Ok(Ok(stat)) = stat {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let news = space.look(free, looked.elapsed());
            looked = Instant::now();
            tell(&folder, free, &space, news);
            let stats = handle.stats();
            stats.disk_free.set(free);
            stats.disk_low.set(u64::from(space.is_low));
        }
        detcd_rt::sleep(PERIOD).await;
    }
}

fn tell(folder: &std::path::Path, free: u64, space: &Space, news: Option<News>) {
    let (data_dir, needed) = (folder.display(), space.needed());
    match news {
        Some(News::Low) => tracing::warn!(
            %data_dir,
            free_bytes = free,
            needed_bytes = needed,
            "the file system of the data-dir is nearly full, and the member ends when it is: free \
             or add space"
        ),
        Some(News::Relieved) => tracing::info!(
            %data_dir,
            free_bytes = free,
            "the file system of the data-dir has space again"
        ),
        None => {}
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Low,
    Relieved,
}

/// What is known of the space that is left.
#[derive(Debug, Default)]
struct Space {
    /// What was free when it was last looked.
    free: Option<u64>,
    /// How fast it gets less, in bytes per second; below zero if it gets more.
    rate: f64,
    is_low: bool,
}

impl Space {
    /// Takes in what is free, `passed` after the last time.
    fn look(&mut self, free: u64, passed: Duration) -> Option<News> {
        if let Some(before) = self.free.replace(free)
            && !passed.is_zero()
        {
            let now = (before as f64 - free as f64) / passed.as_secs_f64();
            let weight = (passed.as_secs_f64() / RATE_WINDOW.as_secs_f64()).min(1.0);
            self.rate += (now - self.rate) * weight;
        }
        let needed = self.needed();
        let news = match self.is_low {
            false if free < needed => News::Low,
            true if free >= needed.saturating_mul(RELIEF_PERCENT) / 100 => News::Relieved,
            _ => return None,
        };
        self.is_low = news == News::Low;
        Some(news)
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
        let mut look = |free| space.look(free, Duration::ZERO);
        assert_eq!(look(GIB), None);
        assert_eq!(look(FREE_BYTES_MIN), None);
        assert_eq!(look(FREE_BYTES_MIN - 1), Some(News::Low));
        assert_eq!(look(FREE_BYTES_MIN - 2), None);
        assert_eq!(look(FREE_BYTES_MIN + 1), None, "a little more is no relief");
        assert_eq!(look(0), None);
        assert_eq!(look(GIB), Some(News::Relieved));
        assert_eq!(look(1), Some(News::Low));
    }

    #[test]
    fn the_faster_it_gets_less_the_earlier_is_warned() {
        let mut space = Space::default();
        let rate = 50 << 20;
        let mut free = 100 * GIB;
        let mut seconds = 0;
        while space.look(free, PERIOD).is_none() {
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
        assert_eq!(space.look(3 * GIB, PERIOD), None);
        // A new segment of the log, allocated as a whole.
        assert_eq!(space.look(3 * GIB - (64 << 20), PERIOD), None);
        for _ in 0..30 {
            assert_eq!(space.look(3 * GIB - (64 << 20), PERIOD), None);
        }
        assert!(space.rate < 1e6, "{}", space.rate);
    }

    #[test]
    fn what_is_given_back_at_once_was_no_trend() {
        let mut space = Space::default();
        for _ in 0..100 {
            assert_eq!(space.look(2 * GIB, PERIOD), None);
            assert_eq!(space.look(2 * GIB - (200 << 20), PERIOD), None);
        }
    }
}
