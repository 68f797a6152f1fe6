//! Numbers, times and ratios, as scenarios write them and the seed draws them.
//!
//! A pair is a range. What is drawn from it for the plan has a type in the singular ([`Count`],
//! [`Time`], [`Ratio`]); what stays a range, because it is drawn for each packet or each operation,
//! has one in the plural ([`Counts`], [`Times`]).

use super::reader::{Problem, Value};
use super::settings::{Draw, Initial, Limits, Setting, Written};
use crate::rng::Rng;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Both ends of a range; a resolved one has them equal.
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
        if self.low == self.high {
            return self;
        }
        Span::one(rng.range(self.low..=self.high))
    }

    /// The value of a resolved span.
    pub fn value(self) -> u64 {
        assert_eq!(self.low, self.high, "a plan has no ranges");
        self.low
    }

    pub fn range(self) -> RangeInclusive<u64> {
        self.low..=self.high
    }

    fn read(
        value: &Value<'_>,
        limits: Option<Limits>,
        wanted: &str,
        parse: impl Fn(&Value<'_>) -> Option<u64>,
    ) -> Result<Span, Problem> {
        let (low, high) = ends(value, parse, wanted)?;
        let within = |end: u64| {
            limits.is_none_or(|limits| limits.low <= end as f64 && end as f64 <= limits.high)
        };
        match limits {
            _ if low > high => Err(value.problem("the range is upside down")),
            Some(Limits {
                low: min,
                high: max,
            }) if !within(low) || !within(high) => {
                Err(value.problem(format!("{wanted} belongs here, from {min} to {max}")))
            }
            _ => Ok(Span { low, high }),
        }
    }

    fn write(self, one: impl Fn(u64) -> String) -> Written {
        Written::Value(if self.low == self.high {
            one(self.low)
        } else {
            format!("[{}, {}]", one(self.low), one(self.high))
        })
    }
}

/// One value twice, or a pair.
fn ends<T: Copy>(
    value: &Value<'_>,
    parse: impl Fn(&Value<'_>) -> Option<T>,
    wanted: &str,
) -> Result<(T, T), Problem> {
    let ends = match value.elements() {
        None => parse(value).map(|one| (one, one)),
        Some(pair) if pair.len() == 2 => parse(&pair[0]).zip(parse(&pair[1])),
        Some(_) => None,
    };
    ends.ok_or_else(|| value.problem(format!("{wanted}, or a pair of them, belongs here")))
}

const NUMBER: &str = "a whole number";
const TIME: &str = "a time such as \"5s\" or \"200ms\"";

macro_rules! span_setting {
    ($(#[doc = $doc:literal])* $name:ident, $what:literal, $from:ty, $drawn:literal) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub Span);

        impl Initial<$from> for $name {
            fn initial(from: $from) -> $name {
                $name(Span::one(from.whole()))
            }
        }

        impl Initial<($from, $from)> for $name {
            fn initial((low, high): ($from, $from)) -> $name {
                $name(Span::of(low.whole(), high.whole()))
            }
        }

        impl Setting for $name {
            fn kind() -> String {
                let when = if $drawn { "a pair to draw from" } else { "a pair (drawn each time)" };
                format!("{}, or {when}", $what)
            }

            fn read(value: &Value<'_>, limits: Option<Limits>) -> Result<$name, Problem> {
                <$from>::read_span(value, limits).map($name)
            }

            fn draw(&self, draw: &Draw) -> $name {
                if $drawn { $name(self.0.draw(&mut draw.rng())) } else { *self }
            }

            fn write(&self) -> Written {
                self.0.write(<$from>::written)
            }
        }
    };
}

/// How defaults of a unit are written in declarations, and values in files.
trait Unit: Sized {
    fn whole(self) -> u64;
    fn read_span(value: &Value<'_>, limits: Option<Limits>) -> Result<Span, Problem>;
    fn written(value: u64) -> String;
}

impl Unit for u64 {
    fn whole(self) -> u64 {
        self
    }
    fn read_span(value: &Value<'_>, limits: Option<Limits>) -> Result<Span, Problem> {
        Span::read(value, limits, NUMBER, |value| value.integer())
    }
    fn written(value: u64) -> String {
        value.to_string()
    }
}

impl Unit for &'static str {
    fn whole(self) -> u64 {
        parse_time(self).expect("a default is a time")
    }
    fn read_span(value: &Value<'_>, limits: Option<Limits>) -> Result<Span, Problem> {
        Span::read(value, limits, TIME, |value| parse_time(value.text()?))
    }
    fn written(value: u64) -> String {
        format!("\"{}\"", time(value))
    }
}

span_setting! {
    /// A whole number, drawn for the plan.
    Count, "number", u64, true
}
span_setting! {
    /// A range of whole numbers, of which one is drawn each time.
    Counts, "number", u64, false
}
span_setting! {
    /// A time in milliseconds, drawn for the plan.
    Time, "time", &'static str, true
}
span_setting! {
    /// A range of times, of which one is drawn each time.
    Times, "time", &'static str, false
}

impl Count {
    /// Of so many, in a plan, what each of some clients does.
    pub fn shares(&self, clients: u64) -> impl Iterator<Item = u64> + use<> {
        let all = self.value();
        (0..clients).map(move |number| all / clients + u64::from(number < all % clients))
    }

    pub const fn one(value: u64) -> Count {
        Count(Span::one(value))
    }

    /// The value in a plan.
    pub fn value(self) -> u64 {
        self.0.value()
    }

    /// The value in a plan, as the milliseconds that it is.
    pub fn millis(self) -> Duration {
        Duration::from_millis(self.value())
    }
}

impl Counts {
    pub fn range(self) -> RangeInclusive<u64> {
        self.0.range()
    }
}

impl Time {
    pub const fn ms(value: u64) -> Time {
        Time(Span::one(value))
    }

    /// The milliseconds in a plan.
    pub fn value(self) -> u64 {
        self.0.value()
    }

    /// The value in a plan.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.value())
    }
}

impl Times {
    /// In milliseconds.
    pub fn range(self) -> RangeInclusive<u64> {
        self.0.range()
    }

    pub fn pick(self, rng: &mut Rng) -> Duration {
        Duration::from_millis(rng.range(self.range()))
    }
}

/// Milliseconds as "5s" or "200ms".
pub fn time(milliseconds: u64) -> String {
    if milliseconds.is_multiple_of(1000) {
        format!("{}s", milliseconds / 1000)
    } else {
        format!("{milliseconds}ms")
    }
}

/// The milliseconds of "200ms", "5s" or "2m".
/// A time of the command line.
pub fn duration(text: &str) -> Result<Duration, String> {
    let time = parse_time(text).map(Duration::from_millis);
    time.ok_or_else(|| "a time is written as \"5s\" or \"200ms\"".to_owned())
}

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

/// A time forward or back, such as "-70s"; drawn for the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    pub low: i64,
    pub high: i64,
}

impl Shift {
    /// The milliseconds in a plan.
    pub fn value(self) -> i64 {
        assert_eq!(self.low, self.high, "a plan has no ranges");
        self.low
    }
}

fn parse_shift(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    Some(sign * i64::try_from(parse_time(text)?).ok()?)
}

impl Initial<&'static str> for Shift {
    fn initial(from: &'static str) -> Shift {
        let shift = parse_shift(from).expect("a default is a time");
        Shift {
            low: shift,
            high: shift,
        }
    }
}

impl Setting for Shift {
    fn kind() -> String {
        "time forward (\"5s\") or back (\"-5s\"), or a pair to draw from".to_owned()
    }

    fn read(value: &Value<'_>, _: Option<Limits>) -> Result<Shift, Problem> {
        let wanted = "a time forward or back, such as \"-5s\"";
        let (low, high) = ends(value, |value| parse_shift(value.text()?), wanted)?;
        if low > high {
            return Err(value.problem("the range is upside down"));
        }
        Ok(Shift { low, high })
    }

    fn draw(&self, draw: &Draw) -> Shift {
        if self.low == self.high {
            return *self;
        }
        let drawn = draw.rng().range(0..=self.high.abs_diff(self.low));
        let drawn = self.low + i64::try_from(drawn).expect("times are small");
        Shift {
            low: drawn,
            high: drawn,
        }
    }

    fn write(&self) -> Written {
        let one = |shift: i64| {
            let sign = if shift < 0 { "-" } else { "" };
            format!("\"{sign}{}\"", time(shift.unsigned_abs()))
        };
        Written::Value(if self.low == self.high {
            one(self.low)
        } else {
            format!("[{}, {}]", one(self.low), one(self.high))
        })
    }
}

/// A fraction or factor, drawn for the plan.
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

    /// The value in a plan.
    pub fn value(self) -> f64 {
        assert!(self.low == self.high, "a plan has no ranges");
        self.low
    }
}

impl Initial<f64> for Ratio {
    fn initial(from: f64) -> Ratio {
        Ratio::one(from)
    }
}

impl Initial<(f64, f64)> for Ratio {
    fn initial((low, high): (f64, f64)) -> Ratio {
        Ratio { low, high }
    }
}

impl Setting for Ratio {
    fn kind() -> String {
        "ratio, or a pair to draw from".to_owned()
    }

    fn limits() -> Option<Limits> {
        Some(Limits {
            low: 0.0,
            high: 1.0,
        })
    }

    fn read(value: &Value<'_>, limits: Option<Limits>) -> Result<Ratio, Problem> {
        let Limits {
            low: min,
            high: max,
        } = limits.or(Self::limits()).expect("a ratio has limits");
        let wanted = format!("a number from {min} to {max}");
        let (low, high) = ends(value, |value| value.float(), &wanted)?;
        if min <= low && low <= high && high <= max {
            return Ok(Ratio { low, high });
        }
        Err(value.problem(format!("{wanted}, or a pair of them, belongs here")))
    }

    /// Drawn to six decimals, so that a printed plan is the plan.
    fn draw(&self, draw: &Draw) -> Ratio {
        if self.low == self.high {
            return *self;
        }
        let drawn = draw.rng().between(self.low, self.high);
        Ratio::one((drawn * 1e6).round() / 1e6)
    }

    fn write(&self) -> Written {
        Written::Value(self.to_string())
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
