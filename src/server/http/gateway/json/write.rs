//! From a message to JSON as etcd writes it: names as in the .proto files, numbers of 64 bits as
//! strings, fields without a value left out, and Go's escapes.

use prost_reflect::{DynamicMessage, SerializeOptions};
use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter};
use std::io::{self, Write};

const OPTIONS: SerializeOptions = SerializeOptions::new()
    .use_proto_field_name(true)
    .stringify_64_bit_integers(true)
    .skip_default_fields(true);

/// Appends the message.
pub fn message(message: &DynamicMessage, out: &mut Vec<u8>) {
    let mut serializer = serde_json::Serializer::with_formatter(out, GoEscapes);
    let written = message.serialize_with_options(&mut serializer, &OPTIONS);
    written.expect("messages without floats have a JSON form, and memory takes it");
}

/// Appends any other value.
pub fn value(value: &impl Serialize, out: &mut Vec<u8>) {
    let mut serializer = serde_json::Serializer::with_formatter(out, GoEscapes);
    let written = value.serialize(&mut serializer);
    written.expect("structs of strings and numbers have a JSON form, and memory takes it");
}

/// Go escapes what HTML and JavaScript would take for something else.
struct GoEscapes;

impl Formatter for GoEscapes {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, escaped) = rest.split_at(at);
            out.write_all(plain.as_bytes())?;
            let mut characters = escaped.chars();
            if let Some(character) = characters.next() {
                write!(out, "\\u{:04x}", u32::from(character))?;
            }
            rest = characters.as_str();
        }
        out.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        match escape {
            CharEscape::Quote => out.write_all(b"\\\""),
            CharEscape::ReverseSolidus => out.write_all(b"\\\\"),
            CharEscape::Solidus => out.write_all(b"/"),
            CharEscape::LineFeed => out.write_all(b"\\n"),
            CharEscape::CarriageReturn => out.write_all(b"\\r"),
            CharEscape::Tab => out.write_all(b"\\t"),
            CharEscape::Backspace => out.write_all(b"\\u0008"),
            CharEscape::FormFeed => out.write_all(b"\\u000c"),
            CharEscape::AsciiControl(byte) => write!(out, "\\u{byte:04x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_does() {
        let mut out = Vec::new();
        value(
            &"a<b>&\u{2028}\u{e9}\"\\/\u{8}\u{c}\n\r\t\u{1}\u{7f}",
            &mut out,
        );
        let expected =
            "\"a\\u003cb\\u003e\\u0026\\u2028\u{e9}\\\"\\\\/\\u0008\\u000c\\n\\r\\t\\u0001\u{7f}\"";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
