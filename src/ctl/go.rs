//! Go's ways of reading and writing values, where etcdctl's output or errors show them.

use detcd_core::go::{self, DurationError};
use std::fmt::Write as _;
use std::time::Duration;

/// Go's `%q`: printable characters stay, the rest is escaped; bytes that are no UTF-8 become `\x`.
pub fn quote(bytes: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            escape(character, '"', &mut quoted);
        }
        for byte in chunk.invalid() {
            write!(quoted, "\\x{byte:02x}").expect("a String takes everything");
        }
    }
    quoted.push('"');
    quoted
}

/// A character in Go's single quotes.
pub fn quote_char(character: char) -> String {
    let mut quoted = String::from("'");
    escape(character, '\'', &mut quoted);
    quoted.push('\'');
    quoted
}

/// What [`quote`] wrote, or a Go raw string in back quotes, at the start of `text`: the content and
/// the rest of the text.
pub fn unquote_prefix(text: &str) -> Option<(Vec<u8>, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        let end = raw.find('`')?;
        return Some((raw.as_bytes()[..end].to_vec(), &raw[end + 1..]));
    }
    let mut rest = text.strip_prefix('"')?;
    let mut content = Vec::new();
    loop {
        let character = rest.chars().next()?;
        rest = &rest[character.len_utf8()..];
        match character {
            '"' => return Some((content, rest)),
            '\\' => rest = unescape(rest, &mut content)?,
            _ => content.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Go's `strconv.ParseInt(text, base, 64)`; base 0 reads a `0x`, `0o` or `0b` prefix.
pub fn parse_int(text: &str, base: u32) -> Result<i64, String> {
    let fail = |what: &str| {
        Err(format!(
            "strconv.ParseInt: parsing {}: {what}",
            quote(text.as_bytes())
        ))
    };
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => ("-", &text[1..]),
        Some(b'+') => ("", &text[1..]),
        _ => ("", text),
    };
    let (digits, base) = match (base, digits.get(..2)) {
        (0, Some("0x" | "0X")) => (&digits[2..], 16),
        (0, Some("0o" | "0O")) => (&digits[2..], 8),
        (0, Some("0b" | "0B")) => (&digits[2..], 2),
        (0, _) => (digits, 10),
        _ => (digits, base),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return fail("invalid syntax");
    }
    i64::from_str_radix(&format!("{sign}{digits}"), base).or_else(|_| fail("value out of range"))
}

/// Go's `strconv.ParseUint(text, base, 64)`, for a base that is not 0.
pub fn parse_uint(text: &str, base: u32) -> Result<u64, String> {
    let fail = |what: &str| {
        let quoted = quote(text.as_bytes());
        Err(format!("strconv.ParseUint: parsing {quoted}: {what}"))
    };
    if text.is_empty() || !text.chars().all(|digit| digit.is_digit(base)) {
        return fail("invalid syntax");
    }
    u64::from_str_radix(text, base).or_else(|_| fail("value out of range"))
}

/// Go's `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    go::parse_bool(text).ok_or_else(|| {
        let quoted = quote(text.as_bytes());
        format!("strconv.ParseBool: parsing {quoted}: invalid syntax")
    })
}

/// Go's `time.ParseDuration`, without negative durations.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    go::parse_duration(text).map_err(|error| {
        let quoted = quote(text.as_bytes());
        match error {
            DurationError::Invalid => format!("time: invalid duration {quoted}"),
            DurationError::MissingUnit => format!("time: missing unit in duration {quoted}"),
            DurationError::UnknownUnit(unit) => {
                let unit = quote(unit.as_bytes());
                format!("time: unknown unit {unit} in duration {quoted}")
            }
        }
    })
}

/// A size for people, in thousands: `20 kB`, `1.5 MB`.
pub fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let power = (bytes.ilog10() / 3) as usize;
    let scaled = bytes as f64 / 1000f64.powi(power as i32);
    let rounded = (scaled * 10.0 + 0.5).floor() / 10.0;
    if rounded < 10.0 {
        format!("{rounded:.1} {}", UNITS[power])
    } else {
        format!("{rounded:.0} {}", UNITS[power])
    }
}

fn escape(character: char, quote: char, out: &mut String) {
    match character {
        '\\' => out.push_str("\\\\"),
        _ if character == quote => out.extend(['\\', quote]),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        _ if is_printable(character) => out.push(character),
        _ => {
            let code = u32::from(character);
            match code {
                0..0x80 => write!(out, "\\x{code:02x}"),
                0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            }
            .expect("a String takes everything");
        }
    }
}

/// Letters, marks, numbers, punctuation, symbols and the space. `escape_debug` knows them, but it
/// also escapes a combining mark at the start of a string: hence the letter before.
fn is_printable(character: char) -> bool {
    matches!(character, '\'' | '"')
        || format!("a{character}").escape_debug().nth(1) == Some(character)
}

/// Reads what follows a backslash.
fn unescape<'a>(rest: &'a str, content: &mut Vec<u8>) -> Option<&'a str> {
    let letter = rest.chars().next()?;
    let after = &rest[letter.len_utf8()..];
    let simple = match letter {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        '"' => b'"',
        'x' => {
            content.push(u8::from_str_radix(after.get(..2)?, 16).ok()?);
            return Some(&after[2..]);
        }
        '0'..='7' => {
            content.push(u8::from_str_radix(rest.get(..3)?, 8).ok()?);
            return Some(&rest[3..]);
        }
        'u' | 'U' => {
            let digits = if letter == 'u' { 4 } else { 8 };
            let code = u32::from_str_radix(after.get(..digits)?, 16).ok()?;
            let character = char::from_u32(code)?;
            content.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(&after[digits..]);
        }
        _ => return None,
    };
    content.push(simple);
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        assert_eq!(quote(b"a\x01\xff<\xc3\xa9\"\n"), r#""a\x01\xff<é\"\n""#);
        assert_eq!(
            quote("\u{301}\u{200b}\u{7f}'".as_bytes()),
            "\"\u{301}\\u200b\\x7f'\""
        );
        let (content, rest) = unquote_prefix(r#""a\x01\xff<é\"\n\u200b\101") = "#).unwrap();
        assert_eq!(content, b"a\x01\xff<\xc3\xa9\"\n\xe2\x80\x8bA");
        assert_eq!(rest, ") = ");
        assert_eq!(unquote_prefix("`a\\n` x"), Some((b"a\\n".to_vec(), " x")));
        for broken in ["\"open", "'a'", "", "\"\\q\"", "\"\\x4\"", "\"\\ud800\""] {
            assert_eq!(unquote_prefix(broken), None, "{broken}");
        }
    }

    #[test]
    fn durations_that_cannot_be_read_are_refused_in_gos_words() {
        assert_eq!(parse_duration("1h2m").unwrap(), Duration::from_secs(3720));
        assert_eq!(
            parse_duration("5").unwrap_err(),
            "time: missing unit in duration \"5\""
        );
        assert_eq!(
            parse_duration("5x").unwrap_err(),
            "time: unknown unit \"x\" in duration \"5x\""
        );
        assert_eq!(
            parse_duration("x").unwrap_err(),
            "time: invalid duration \"x\""
        );
    }

    #[test]
    fn integers() {
        assert_eq!(parse_int("-12", 10), Ok(-12));
        assert_eq!(parse_int("1f", 16), Ok(31));
        assert_eq!(parse_int("0x1f", 0), Ok(31));
        assert_eq!(
            parse_int("9223372036854775808", 10).unwrap_err(),
            "strconv.ParseInt: parsing \"9223372036854775808\": value out of range"
        );
        assert!(parse_int("", 10).is_err() && parse_int("+-1", 10).is_err());
    }

    #[test]
    fn sizes() {
        let shown: Vec<_> = [0, 9, 10, 999, 1_000, 20_480, 25_000, 1_550_000, u64::MAX]
            .into_iter()
            .map(show_bytes)
            .collect();
        let expected = [
            "0 B", "9 B", "10 B", "999 B", "1.0 kB", "20 kB", "25 kB", "1.6 MB", "18 EB",
        ];
        assert_eq!(shown, expected);
    }
}
