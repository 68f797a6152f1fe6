//! Log lines that others can cause as often as they like.

use crate::Instant;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// How long the repetitions of a line are counted before one is written again.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts the repetitions of lines of one kind instead of writing them.
///
/// ```text
/// if let Some(left_out) = lines.take("refused", Instant::now()) {
///     warn!(%reason, left_out, "refused a connection");
/// }
/// ```
#[derive(Debug, Default)]
pub struct RepeatedLines(Mutex<BTreeMap<&'static str, Line>>);

#[derive(Debug)]
struct Line {
    written: Instant,
    left_out: u64,
}

impl RepeatedLines {
    /// Whether a line of this kind is to be written now, and how many were left out since the last
    /// one. The kinds are the caller's own words, so that they are few.
    pub fn take(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut lines = self.0.lock().expect("nothing panics while it holds them");
        let Some(line) = lines.get_mut(kind) else {
            let written = now;
            lines.insert(
                kind,
                Line {
                    written,
                    left_out: 0,
                },
            );
            return Some(0);
        };
        if now < line.written + INTERVAL {
            line.left_out += 1;
            return None;
        }
        line.written = now;
        Some(std::mem::take(&mut line.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn repetitions_are_counted_and_told_with_the_next_line() {
        let lines = RepeatedLines::default();
        assert_eq!(lines.take("one", at(5)), Some(0));
        for _ in 0..58_000 {
            assert_eq!(lines.take("one", at(7)), None);
        }
        assert_eq!(lines.take("another", at(7)), Some(0));
        assert_eq!(lines.take("one", at(14)), None);
        assert_eq!(lines.take("one", at(15)), Some(58_001));
        assert_eq!(lines.take("one", at(16)), None);
    }
}
