//! Values as Go writes and reads them: flags of etcd's and etcdctl's, and what they print.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::time::Duration;

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationError<'a> {
    Invalid,
    MissingUnit,
    UnknownUnit(&'a str),
}

/// The longest duration that Go has, in nanoseconds.
const NANOS_MAX: u64 = i64::MAX as u64;

/// Go's `time.ParseDuration`, without negative durations: no flag knows what to do with one.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError<'_>> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(DurationError::Invalid);
    }
    let mut nanos = 0u64;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(DurationError::Invalid);
        }
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (unit, after) = after.split_at(after.find(is_number).unwrap_or(after.len()));
        let unit_nanos = match unit {
            "" => return Err(DurationError::MissingUnit),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(DurationError::UnknownUnit(unit)),
        };
        let part = part_nanos(whole, fraction, unit_nanos);
        nanos = part
            .and_then(|part| nanos.checked_add(part))
            .filter(|nanos| *nanos <= NANOS_MAX)
            .ok_or(DurationError::Invalid)?;
        rest = after;
    }
    Ok(Duration::from_nanos(nanos))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

/// `whole.fraction` of a unit. What is finer than a nanosecond is cut off.
fn part_nanos(whole: &str, fraction: &str, unit_nanos: u64) -> Option<u64> {
    let whole: u64 = match whole {
        "" => 0,
        digits => digits.parse().ok()?,
    };
    // More digits than these are finer than a nanosecond of an hour.
    let fraction = &fraction[..fraction.len().min(15)];
    let numerator: u64 = match fraction {
        "" => 0,
        digits => digits.parse().ok()?,
    };
    let denominator = 10u128.pow(fraction.len() as u32);
    let fraction = u128::from(numerator) * u128::from(unit_nanos) / denominator;
    whole
        .checked_mul(unit_nanos)?
        .checked_add(u64::try_from(fraction).ok()?)
}

/// Go's way to print a duration: `1.842444ms`, `5.001279277s`, `1m0s`.
pub fn show_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (unit, name) = match nanos {
        0 => return "0s".to_owned(),
        1..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let (whole, part) = (nanos / unit, nanos % unit);
    let decimals = unit.ilog10() as usize;
    let fraction = if part == 0 {
        String::new()
    } else {
        format!(".{part:0decimals$}")
            .trim_end_matches('0')
            .to_owned()
    };
    if name != "s" || whole < 60 {
        return format!("{whole}{fraction}{name}");
    }
    let (minutes, seconds) = (whole / 60, whole % 60);
    if minutes < 60 {
        return format!("{minutes}m{seconds}{fraction}s");
    }
    format!("{}h{}m{seconds}{fraction}s", minutes / 60, minutes % 60)
}

/// Go's `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_as_they_are_read() {
        for text in [
            "5s",
            "1.842444ms",
            "5.001279277s",
            "1m0s",
            "1h0m1.5s",
            "0s",
            "15µs",
            "7ns",
            "2562047h47m16.854775807s",
        ] {
            assert_eq!(parse_duration(text).map(show_duration).as_deref(), Ok(text));
        }
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let millis = |text| parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!(millis("1h2m"), Ok(3_720_000));
        assert_eq!(millis("+1.5s"), Ok(1_500));
        assert_eq!(millis(".5s"), Ok(500));
        assert_eq!(millis("5.s"), Ok(5_000));
        assert_eq!(millis("0"), Ok(0));
        assert_eq!(millis("0.00000000000000000001h"), Ok(0));
        assert_eq!(millis("5"), Err(DurationError::MissingUnit));
        assert_eq!(millis("5x"), Err(DurationError::UnknownUnit("x")));
        for text in [
            "",
            "+",
            "x",
            "-1s",
            ".s",
            "2562048h",
            "99999999999999999999s",
        ] {
            assert_eq!(millis(text), Err(DurationError::Invalid), "{text}");
        }
    }
}
