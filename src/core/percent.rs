//! Percent escapes, as Go reads them: what is no escape is an error and not text, which the crates
//! for it take it for.

/// The byte of the two hexadecimal digits behind a `%`.
pub fn escaped(after_percent: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*after_percent.get(at)?).to_digit(16);
    let byte = 16 * digit(0)? + digit(1)?;
    u8::try_from(byte).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_two_hexadecimal_digits() {
        assert_eq!(escaped(b"4e rest"), Some(0x4e));
        assert_eq!(escaped(b"Ff"), Some(0xff));
        for broken in [&b""[..], b"4", b"4g", b"+4", b" 4"] {
            assert_eq!(escaped(broken), None);
        }
    }
}
