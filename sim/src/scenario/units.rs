//! Ranges of numbers and times, as scenarios write them and the seed resolves them.

use crate::rng::Rng;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A number that is drawn from a range; a resolved one has both ends equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub low: u64,
    pub high: u64,
}

impl Span {
    pub const fn one(value: u64) -> Span {
        Span {
            low: value,
            high: value,
        }
    }

    pub const fn of(low: u64, high: u64) -> Span {
        Span { low, high }
    }

    pub fn draw(self, rng: &mut Rng) -> Span {
        Span::one(rng.range(self.low..=self.high))
    }

    /// The value of a resolved span.
    pub fn value(self) -> u64 {
        assert_eq!(self.low, self.high, "a plan has no ranges");
        self.low
    }

    /// The milliseconds of a resolved span.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.value())
    }

    /// For what stays a range through a run, such as latencies.
    pub fn range(self) -> RangeInclusive<u64> {
        self.low..=self.high
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high {
            write!(f, "{}", self.low)
        } else {
            write!(f, "[{}, {}]", self.low, self.high)
        }
    }
}

/// A span of milliseconds, as a scenario writes it.
pub struct Times(pub Span);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Span { low, high } = self.0;
        if low == high {
            write!(f, "\"{}\"", Time(low))
        } else {
            write!(f, "[\"{}\", \"{}\"]", Time(low), Time(high))
        }
    }
}

/// Milliseconds as "5s" or "200ms".
pub struct Time(pub u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) {
            write!(f, "{}s", self.0 / 1000)
        } else {
            write!(f, "{}ms", self.0)
        }
    }
}

/// The milliseconds of "200ms", "5s" or "2m".
pub fn parse_time(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// A fraction that is drawn from a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    pub low: f64,
    pub high: f64,
}

impl Ratio {
    pub const fn one(value: f64) -> Ratio {
        Ratio {
            low: value,
            high: value,
        }
    }

    /// Drawn to six decimals, so that a printed plan is the plan.
    pub fn draw(self, rng: &mut Rng) -> Ratio {
        if self.low == self.high {
            return self;
        }
        let drawn = rng.between(self.low, self.high);
        Ratio::one((drawn * 1e6).round() / 1e6)
    }

    /// The value of a resolved ratio.
    pub fn value(self) -> f64 {
        assert!(self.low == self.high, "a plan has no ranges");
        self.low
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high {
            write!(f, "{:?}", self.low)
        } else {
            write!(f, "[{:?}, {:?}]", self.low, self.high)
        }
    }
}
