//! Percent escapes, as Go reads them: what is no escape is an error and not text, which the crates
//! for it take it for.

use alloc::string::String;
use core::fmt::Write as _;

/// The byte of the two hexadecimal digits behind a `%`.
pub fn escaped(after_percent: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*after_percent.get(at)?).to_digit(16);
    let byte = 16 * digit(0)? + digit(1)?;
    u8::try_from(byte).ok()
}

/// A text as a form or a query may hold it.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            _ => drop(write!(escaped, "%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_form_gives_another_meaning_is_escaped() {
        assert_eq!(escape("a=http://b:1"), "a%3Dhttp%3A%2F%2Fb%3A1");
        assert_eq!(escape("é~"), "%C3%A9~");
    }

    #[test]
    fn escapes_are_two_hexadecimal_digits() {
        assert_eq!(escaped(b"4e rest"), Some(0x4e));
        assert_eq!(escaped(b"Ff"), Some(0xff));
        for broken in [&b""[..], b"4", b"4g", b"+4", b" 4"] {
            assert_eq!(escaped(broken), None);
        }
    }
}
