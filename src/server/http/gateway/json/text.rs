//! A walk through a value that is well-formed: the members of an object, the elements of an array,
//! and what a string stands for.

use super::scan::is_space;
use std::borrow::Cow;

/// What a value is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
}

impl Kind {
    pub fn of(value: &[u8]) -> Kind {
        match value.first() {
            Some(b'n') => Kind::Null,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'"') => Kind::Text,
            Some(b'[') => Kind::Array,
            Some(b'{') => Kind::Object,
            _ => Kind::Number,
        }
    }

    /// As Go calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Bool => "bool",
            Kind::Number => "number",
            Kind::Text => "string",
            Kind::Array => "array",
            Kind::Object => "object",
        }
    }
}

/// The members of an object: each key, in its quotes, and its value.
pub fn members(object: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = Walk(object.get(1..).unwrap_or_default());
    std::iter::from_fn(move || {
        let key = rest.value()?;
        let value = rest.value()?;
        Some((key, value))
    })
}

/// The elements of an array.
pub fn elements(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Walk(array.get(1..).unwrap_or_default());
    std::iter::from_fn(move || rest.value())
}

struct Walk<'a>(&'a [u8]);

impl<'a> Walk<'a> {
    /// The next value, after commas and colons; `None` at the closing bracket.
    fn value(&mut self) -> Option<&'a [u8]> {
        let between = |byte: &u8| is_space(*byte) || matches!(byte, b',' | b':');
        let start = self.0.iter().position(|byte| !between(byte))?;
        let rest = &self.0[start..];
        if matches!(rest[0], b'}' | b']') {
            return None;
        }
        let (value, rest) = rest.split_at(length(rest));
        self.0 = rest;
        Some(value)
    }
}

/// The length of the value with which a text begins.
fn length(text: &[u8]) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at += text_length(&text[at..]);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth <= 1 => return at + depth,
            b']' | b'}' => depth -= 1,
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// The length of a string with its quotes.
fn text_length(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// What a string in its quotes stands for. What is no UTF-8 and no Unicode is replaced.
pub fn unquoted(quoted: &[u8]) -> Cow<'_, str> {
    let inner = quoted.strip_prefix(b"\"").unwrap_or(quoted);
    let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
    if !inner.contains(&b'\\') {
        return lossy(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(escape) = rest.iter().position(|byte| *byte == b'\\') {
        out.push_str(&lossy(&rest[..escape]));
        let (read, length) = unescaped(&rest[escape..]);
        out.push(read);
        rest = rest.get(escape + length..).unwrap_or_default();
    }
    out.push_str(&lossy(rest));
    Cow::Owned(out)
}

/// The character of the escape with which a text begins, and the escape's length.
fn unescaped(text: &[u8]) -> (char, usize) {
    let read = match text.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(text),
        Some(byte) => char::from(*byte),
        None => char::REPLACEMENT_CHARACTER,
    };
    (read, 2)
}

fn unicode(text: &[u8]) -> (char, usize) {
    const LENGTH: usize = 6;
    let first = unit(text);
    if let Some(read) = char::from_u32(first) {
        return (read, LENGTH);
    }
    let pair = text.get(LENGTH..).filter(|rest| rest.starts_with(b"\\u"));
    let pair = pair.map(unit).and_then(|second| {
        let pair = [u16::try_from(first).ok()?, u16::try_from(second).ok()?];
        char::decode_utf16(pair).next()?.ok()
    });
    match pair {
        Some(read) => (read, 2 * LENGTH),
        None => (char::REPLACEMENT_CHARACTER, LENGTH),
    }
}

/// The number of `\u` and four digits.
fn unit(text: &[u8]) -> u32 {
    let digits = text.get(2..6).unwrap_or_default();
    let digits = digits
        .iter()
        .filter_map(|digit| char::from(*digit).to_digit(16));
    digits.fold(0, |number, digit| number * 16 + digit)
}

/// Go replaces each byte that is no UTF-8, and not each sequence of them.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        chunk
            .invalid()
            .iter()
            .for_each(|_| out.push(char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::super::scan::whole;
    use super::*;
    use proptest::prelude::*;

    fn shown<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
        values
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    #[test]
    fn objects_and_arrays_are_walked_through() {
        let object = br#"{ "a" : [1,{"x":"]}"}] ,"b\"":null,"c":-1e5}"#;
        let found: Vec<_> = members(object)
            .flat_map(|(key, value)| [key, value])
            .collect();
        let expected = [
            "\"a\"",
            "[1,{\"x\":\"]}\"}]",
            "\"b\\\"\"",
            "null",
            "\"c\"",
            "-1e5",
        ];
        assert_eq!(shown(found.into_iter()), expected);
        assert_eq!(shown(elements(b"[ ]")), [""; 0]);
        assert_eq!(shown(elements(b"[[],{} , 5]")), ["[]", "{}", "5"]);
    }

    #[test]
    fn strings_are_unquoted_as_go_does() {
        for (quoted, expected) in [
            (&br#""abc""#[..], "abc"),
            (br#""\u005a\n\/\"""#, "Z\n/\""),
            (br#""\ud83d\ude00!""#, "\u{1f600}!"),
            (br#""\ud83dx\ude00""#, "\u{fffd}x\u{fffd}"),
            (br#""\ud83d\u0041""#, "\u{fffd}A"),
            (b"\"\xe2\x28\"", "\u{fffd}("),
            (b"\"\xe2\x82\"", "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(unquoted(quoted), expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_walked_through(bytes: Vec<u8>) {
            members(&bytes).for_each(|(key, _)| drop(unquoted(key)));
            elements(&bytes).for_each(|value| drop(unquoted(value)));
        }

        #[test]
        fn strings_are_read_as_serde_reads_them(text: String) {
            let quoted = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(whole(quoted.as_bytes()), Ok(quoted.as_bytes()));
            prop_assert_eq!(unquoted(quoted.as_bytes()), text);
        }
    }
}
