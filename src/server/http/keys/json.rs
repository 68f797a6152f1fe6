//! Events and refusals of v2 as Go writes them: the order of the fields, what is left out, and every
//! escape.

use detcd_core::v2::{Dialect, Event, Refused, ShownNode, UnixNanos};
use std::io::Write as _;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// An event in one line. Without `nodes` only what was done is told.
pub(super) fn event(event: &Event, nodes: bool, dialect: Dialect) -> Vec<u8> {
    let mut out = b"{\"action\":".to_vec();
    string(&mut out, event.action.name().as_bytes());
    let prev = event.prev.as_ref();
    match dialect {
        Dialect::Etcd34 if nodes => {
            out.extend_from_slice(b",\"node\":");
            node(&mut out, &event.node);
            if let Some(prev) = prev {
                out.extend_from_slice(b",\"prevNode\":");
                node(&mut out, prev);
            }
        }
        Dialect::Etcd34 => {}
        Dialect::Etcd02 => {
            out.extend_from_slice(b",\"node\":");
            let prev_value = prev.and_then(|prev| prev.value.as_deref());
            node_02(&mut out, &event.node, prev_value.unwrap_or_default());
        }
    }
    out.push(b'}');
    // etcd 0.2 ends no line.
    if dialect == Dialect::Etcd34 {
        out.push(b'\n');
    }
    out
}

/// A refusal in one line.
pub(super) fn refused(refused: &Refused, dialect: Dialect) -> Vec<u8> {
    let mut out = format!("{{\"errorCode\":{},\"message\":", refused.code as u16).into_bytes();
    string(&mut out, refused.code.message_in(dialect).as_bytes());
    if !refused.cause.is_empty() {
        out.extend_from_slice(b",\"cause\":");
        match dialect {
            Dialect::Etcd34 => string(&mut out, &refused.cause),
            Dialect::Etcd02 => string_02(&mut out, &refused.cause),
        }
    }
    number(&mut out, ",\"index\":", refused.index);
    out.extend_from_slice(b"}\n");
    out
}

fn node(out: &mut Vec<u8>, node: &ShownNode) {
    let start = out.len();
    if !node.key.is_empty() {
        out.extend_from_slice(b",\"key\":");
        string(out, &node.key);
    }
    if let Some(value) = &node.value {
        out.extend_from_slice(b",\"value\":");
        string(out, value);
    }
    rest(out, node, self::node);
    close(out, start);
}

/// As etcd 0.2 shows a node: the value before is one of its fields, and what is empty is left out.
fn node_02(out: &mut Vec<u8>, node: &ShownNode, prev_value: &[u8]) {
    let start = out.len();
    let root = b"/".as_slice();
    let key = if node.key.is_empty() { root } else { &node.key };
    let value = node.value.as_deref().unwrap_or_default();
    let fields = [("key", key), ("prevValue", prev_value), ("value", value)];
    for (name, text) in fields.into_iter().filter(|(_, text)| !text.is_empty()) {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        string_02(out, text);
    }
    rest(out, node, |out, child| node_02(out, child, b""));
    close(out, start);
}

/// What follows the value.
fn rest(out: &mut Vec<u8>, node: &ShownNode, show: impl Fn(&mut Vec<u8>, &ShownNode)) {
    if node.dir {
        out.extend_from_slice(b",\"dir\":true");
    }
    if let Some(expiration) = node.expiration {
        let text = format!(",\"expiration\":\"{}\"", time(expiration));
        out.extend_from_slice(text.as_bytes());
    }
    if node.ttl != 0 {
        number(out, ",\"ttl\":", node.ttl);
    }
    if !node.nodes.is_empty() {
        out.extend_from_slice(b",\"nodes\":[");
        for (at, child) in node.nodes.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            show(out, child);
        }
        out.push(b']');
    }
    for (name, index) in [
        (",\"modifiedIndex\":", node.modified),
        (",\"createdIndex\":", node.created),
    ] {
        if index != 0 {
            number(out, name, index);
        }
    }
}

/// Each field brought a comma; that of the first becomes the brace.
fn close(out: &mut Vec<u8>, start: usize) {
    match out.get_mut(start) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

fn number(out: &mut Vec<u8>, name: &str, number: impl std::fmt::Display) {
    write!(out, "{name}{number}").expect("a vector takes everything");
}

/// A string with Go's escapes, those for HTML among them. Bytes that are no UTF-8 become the
/// replacement character, one each.
pub fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    escaped(out, bytes);
    out.push(b'"');
}

/// As Go 1.1 writes it: ampersands are not escaped.
fn string_02(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for (at, part) in bytes.split(|byte| *byte == b'&').enumerate() {
        if at > 0 {
            out.push(b'&');
        }
        escaped(out, part);
    }
    out.push(b'"');
}

fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            escape(out, character);
        }
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

fn escape(out: &mut Vec<u8>, character: char) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\0'..=' ' | '<' | '>' | '&' if character != ' ' => {
            let byte = character as usize;
            out.extend_from_slice(b"\\u00");
            out.extend([HEX[byte >> 4], HEX[byte & 15]]);
        }
        '\u{2028}' => out.extend_from_slice(b"\\u2028"),
        '\u{2029}' => out.extend_from_slice(b"\\u2029"),
        character => {
            let mut buffer = [0; 4];
            out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        }
    }
}

/// RFC 3339 in UTC, with as many digits after the point as are not zero.
pub fn time(UnixNanos(nanos): UnixNanos) -> String {
    const DAY: i64 = 86_400;
    let (seconds, nanos) = (
        nanos.div_euclid(1_000_000_000),
        nanos.rem_euclid(1_000_000_000),
    );
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if nanos != 0 {
        let fraction = format!(".{nanos:09}");
        text.push_str(fraction.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// The date so many days after 1970-01-01, counted in years that begin in March.
fn date(days: i64) -> (i64, i64, i64) {
    const DAYS_400_YEARS: i64 = 146_097;
    let days = days + 719_468;
    let (era, day) = (
        days.div_euclid(DAYS_400_YEARS),
        days.rem_euclid(DAYS_400_YEARS),
    );
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (400 * era + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use detcd_core::v2::{Action, Code};

    #[test]
    fn strings_are_escaped_as_go_does() {
        let mut out = Vec::new();
        string(
            &mut out,
            b"<b>&\"\\\n\t\r\x01\x7f\xe2\x80\xa8\xc3\xa9\xff\xe2\x80 \x00",
        );
        let expected = "\"\\u003cb\\u003e\\u0026\\\"\\\\\\n\\t\\r\\u0001\x7f\\u2028é\\ufffd\\ufffd\\ufffd \\u0000\"";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn times_are_rfc_3339() {
        let at = |seconds: i64, nanos| time(UnixNanos(seconds * 1_000_000_000 + nanos));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00Z");
        assert_eq!(
            at(1_796_061_232, 664_642_074),
            "2026-11-30T17:53:52.664642074Z"
        );
        assert_eq!(at(1_796_061_232, 120_000_000), "2026-11-30T17:53:52.12Z");
        assert_eq!(at(4_107_542_399, 0), "2100-02-28T23:59:59Z");
    }

    #[test]
    fn fields_are_left_out_as_go_does() {
        let root = Event {
            action: Action::Get,
            node: ShownNode {
                dir: true,
                ..ShownNode::default()
            },
            prev: None,
            refresh: false,
        };
        let line = String::from_utf8(event(&root, true, Dialect::Etcd34)).unwrap();
        assert_eq!(line, "{\"action\":\"get\",\"node\":{\"dir\":true}}\n");
        let without_cause = Refused::request(Code::NotAFile, Bytes::new());
        let line = String::from_utf8(refused(&without_cause, Dialect::Etcd34)).unwrap();
        let expected = "{\"errorCode\":102,\"message\":\"Not a file\",\"index\":0}\n";
        assert_eq!(line, expected);
    }

    #[test]
    fn etcd_0_2_shows_the_value_before_in_the_node() {
        let file = |value: &'static str, modified, created| ShownNode {
            key: Bytes::from_static(b"/key1"),
            value: Some(Bytes::from_static(value.as_bytes())),
            modified,
            created,
            ..ShownNode::default()
        };
        let shown = |action, node, prev| {
            let shown = Event {
                action,
                node,
                prev,
                refresh: false,
            };
            String::from_utf8(event(&shown, true, Dialect::Etcd02)).unwrap()
        };
        let set = shown(
            Action::Set,
            file("new value", 3, 3),
            Some(file("value1", 2, 2)),
        );
        assert_eq!(
            set,
            "{\"action\":\"set\",\"node\":{\"key\":\"/key1\",\"prevValue\":\"value1\",\"value\":\"new \
             value\",\"modifiedIndex\":3,\"createdIndex\":3}}"
        );
        let gone = ShownNode {
            value: None,
            ..file("", 4, 3)
        };
        assert_eq!(
            shown(Action::Delete, gone, Some(file("new value", 3, 3))),
            "{\"action\":\"delete\",\"node\":{\"key\":\"/key1\",\"prevValue\":\"new \
             value\",\"modifiedIndex\":4,\"createdIndex\":3}}"
        );
        let missing = Refused {
            code: Code::KeyNotFound,
            cause: Bytes::from_static(b"/key1"),
            index: 4,
        };
        let line = String::from_utf8(refused(&missing, Dialect::Etcd02)).unwrap();
        assert_eq!(
            line,
            "{\"errorCode\":100,\"message\":\"Key Not Found\",\"cause\":\"/key1\",\"index\":4}\n"
        );
    }
}
