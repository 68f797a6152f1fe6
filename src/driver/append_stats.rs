//! What a member counts of the entries that it sends to and gets from others: how fast they go, and
//! what each follower takes.

use crate::stats::Counter;
use detcd_rt::Instant;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// The messages that a pace is taken of (etcd: statsQueue).
const PACE_MESSAGES: usize = 200;
/// A pace of messages that came longer ago is none.
const PACE_AGE_MAX: Duration = Duration::from_secs(1);

/// Messages with entries that go one way.
#[derive(Debug, Default)]
pub struct AppendPace {
    pub messages: Counter,
    /// When the last ones came, and their bytes.
    last: Mutex<VecDeque<(Instant, u64)>>,
}

impl AppendPace {
    pub(crate) fn count(&self, bytes: u64) {
        self.messages.add(1);
        let mut last = lock(&self.last);
        if last.len() == PACE_MESSAGES {
            last.pop_front();
        }
        last.push_back((Instant::now(), bytes));
    }

    /// Messages and bytes a second; `None` if there is nothing to take a pace of.
    pub fn rates(&self) -> Option<(f64, f64)> {
        let last = lock(&self.last);
        let ((first, _), (end, _)) = (last.front()?, last.back()?);
        let seconds = (*end - *first).as_secs_f64();
        if end.elapsed() > PACE_AGE_MAX || seconds == 0.0 {
            return None;
        }
        let bytes: u64 = last.iter().map(|(_, bytes)| bytes).sum();
        Some((last.len() as f64 / seconds, bytes as f64 / seconds))
    }
}

/// From a message with entries to the follower's answer, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AppendLatency {
    pub answered: u64,
    pub failed: u64,
    pub current: f64,
    pub average: f64,
    pub standard_deviation: f64,
    /// `None` before the first answer.
    pub minimum: Option<f64>,
    pub maximum: f64,
    /// The sum of the squared distances from the average (Welford).
    squares: f64,
}

impl AppendLatency {
    fn observe(&mut self, took: Duration) {
        let ms = took.as_secs_f64() * 1000.0;
        self.answered += 1;
        self.current = ms;
        let distance = ms - self.average;
        self.average += distance / self.answered as f64;
        self.squares += distance * (ms - self.average);
        self.standard_deviation = (self.squares / self.answered as f64).sqrt();
        self.minimum = Some(self.minimum.map_or(ms, |minimum| minimum.min(ms)));
        self.maximum = self.maximum.max(ms);
    }
}

/// The latency of one follower.
#[derive(Debug, Default)]
pub struct FollowerLatency(Mutex<AppendLatency>);

impl FollowerLatency {
    pub(crate) fn answered(&self, took: Duration) {
        lock(&self.0).observe(took);
    }

    pub(crate) fn failed(&self) {
        lock(&self.0).failed += 1;
    }

    pub fn read(&self) -> AppendLatency {
        *lock(&self.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_counted_without_its_values() {
        let follower = FollowerLatency::default();
        assert_eq!(follower.read().minimum, None);
        for ms in [2, 4, 4, 4, 5, 5, 7, 9] {
            follower.answered(Duration::from_millis(ms));
        }
        follower.failed();
        let read = follower.read();
        assert_eq!((read.answered, read.failed), (8, 1));
        let near = |value: f64, expected: f64| (value - expected).abs() < 1e-9;
        assert!(near(read.average, 5.0) && near(read.standard_deviation, 2.0));
        assert!(near(read.current, 9.0) && near(read.maximum, 9.0));
        assert!(read.minimum.is_some_and(|minimum| near(minimum, 2.0)));
    }

    #[test]
    fn one_message_has_no_pace() {
        let pace = AppendPace::default();
        assert_eq!(pace.rates(), None);
        pace.count(10);
        assert_eq!(pace.rates(), None);
        assert_eq!(pace.messages.get(), 1);
    }
}
