//! A scanner of JSON, byte by byte, with the errors of Go's encoding/json.

/// Arrays and objects that may lie in one another.
const DEPTH_MAX: usize = 10_000;

/// What a byte does to the value that is scanned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It belongs to the value, or is space before it.
    More,
    /// It is the value's last byte.
    Ends,
    /// The value has ended before it.
    Ended,
    /// It can stand nowhere here, and why.
    Wrong(String),
}

/// Scans one value.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    /// What encloses the place at hand, from the outside.
    within: Vec<Within>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Key,
    Member,
    Element,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but space has come.
    Start,
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    AfterValue,
    Text,
    Escape,
    /// So many hexadecimal digits are missing.
    Hex(u8),
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    /// A word, and how much of it has come.
    Word(&'static str, usize),
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner {
            state: State::Start,
            within: Vec::new(),
        }
    }
}

impl Scanner {
    /// Whether nothing of the value has come.
    pub fn is_at_start(&self) -> bool {
        self.state == State::Start
    }

    /// Whether a value is whole if nothing comes any more.
    pub fn may_end(&mut self) -> bool {
        self.step(b' ') == Step::Ended
    }

    pub fn step(&mut self, byte: u8) -> Step {
        match self.state {
            State::Start | State::Value | State::ValueOrEnd | State::Key | State::KeyOrEnd
                if is_space(byte) =>
            {
                Step::More
            }
            State::ValueOrEnd if byte == b']' => self.close(),
            State::KeyOrEnd if byte == b'}' => self.close(),
            State::Start | State::Value | State::ValueOrEnd => self.begin(byte),
            State::Key | State::KeyOrEnd => match byte {
                b'"' => self.go_on(State::Text),
                _ => wrong(byte, "looking for beginning of object key string"),
            },
            State::AfterValue => self.after_value(byte),
            State::Text => match byte {
                b'"' if self.within.is_empty() => {
                    self.state = State::AfterValue;
                    Step::Ends
                }
                b'"' => self.go_on(State::AfterValue),
                b'\\' => self.go_on(State::Escape),
                0..0x20 => wrong(byte, "in string literal"),
                _ => Step::More,
            },
            State::Escape => match byte {
                b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => self.go_on(State::Text),
                b'u' => self.go_on(State::Hex(4)),
                _ => wrong(byte, "in string escape code"),
            },
            State::Hex(missing) => match (byte.is_ascii_hexdigit(), missing) {
                (true, 1) => self.go_on(State::Text),
                (true, _) => self.go_on(State::Hex(missing - 1)),
                (false, _) => wrong(byte, "in \\u hexadecimal character escape"),
            },
            State::Word(word, known) => match word.as_bytes().get(known) {
                None => self.after_value(byte),
                Some(expected) if *expected == byte => self.go_on(State::Word(word, known + 1)),
                Some(expected) => {
                    let expected = char::from(*expected);
                    let place = format!("in literal {word} (expecting '{expected}')");
                    wrong(byte, &place)
                }
            },
            _ => self.number(byte),
        }
    }

    fn begin(&mut self, byte: u8) -> Step {
        match byte {
            b'{' => self.open(byte, Within::Key, State::KeyOrEnd),
            b'[' => self.open(byte, Within::Element, State::ValueOrEnd),
            b'"' => self.go_on(State::Text),
            b'-' => self.go_on(State::Minus),
            b'0' => self.go_on(State::Zero),
            b'1'..=b'9' => self.go_on(State::Digits),
            b't' => self.go_on(State::Word("true", 1)),
            b'f' => self.go_on(State::Word("false", 1)),
            b'n' => self.go_on(State::Word("null", 1)),
            _ => wrong(byte, "looking for beginning of value"),
        }
    }

    fn number(&mut self, byte: u8) -> Step {
        let is_digit = byte.is_ascii_digit();
        match (self.state, byte) {
            (State::Minus, b'0') => self.go_on(State::Zero),
            (State::Minus, _) if is_digit => self.go_on(State::Digits),
            (State::Minus, _) => wrong(byte, "in numeric literal"),
            (State::Digits | State::Fraction | State::ExponentDigits, _) if is_digit => Step::More,
            (State::Zero | State::Digits, b'.') => self.go_on(State::Point),
            (State::Zero | State::Digits | State::Fraction, b'e' | b'E') => {
                self.go_on(State::Exponent)
            }
            (State::Point, _) if is_digit => self.go_on(State::Fraction),
            (State::Point, _) => wrong(byte, "after decimal point in numeric literal"),
            (State::Exponent, b'+' | b'-') => self.go_on(State::ExponentSign),
            (State::Exponent | State::ExponentSign, _) if is_digit => {
                self.go_on(State::ExponentDigits)
            }
            (State::Exponent | State::ExponentSign, _) => {
                wrong(byte, "in exponent of numeric literal")
            }
            _ => self.after_value(byte),
        }
    }

    fn after_value(&mut self, byte: u8) -> Step {
        let Some(within) = self.within.last_mut() else {
            return Step::Ended;
        };
        self.state = State::AfterValue;
        if is_space(byte) {
            return Step::More;
        }
        match (*within, byte) {
            (Within::Key, b':') => {
                *within = Within::Member;
                self.go_on(State::Value)
            }
            (Within::Key, _) => wrong(byte, "after object key"),
            (Within::Member, b',') => {
                *within = Within::Key;
                self.go_on(State::Key)
            }
            (Within::Member, b'}') | (Within::Element, b']') => self.close(),
            (Within::Member, _) => wrong(byte, "after object key:value pair"),
            (Within::Element, b',') => self.go_on(State::Value),
            (Within::Element, _) => wrong(byte, "after array element"),
        }
    }

    fn open(&mut self, byte: u8, within: Within, state: State) -> Step {
        if self.within.len() == DEPTH_MAX {
            return wrong(byte, "exceeded max depth");
        }
        self.within.push(within);
        self.go_on(state)
    }

    fn close(&mut self) -> Step {
        self.within.pop();
        self.state = State::AfterValue;
        match self.within.is_empty() {
            true => Step::Ends,
            false => Step::More,
        }
    }

    fn go_on(&mut self, state: State) -> Step {
        self.state = state;
        Step::More
    }
}

/// A text that is one value, without the space around it.
pub fn whole(text: &[u8]) -> Result<&[u8], String> {
    let mut scanner = Scanner::default();
    let mut end = None;
    for (at, byte) in text.iter().enumerate() {
        if end.is_some() {
            if !is_space(*byte) {
                return Err(invalid(*byte, "after top-level value"));
            }
            continue;
        }
        match scanner.step(*byte) {
            Step::More => {}
            Step::Ends => end = Some(at + 1),
            Step::Ended if is_space(*byte) => end = Some(at),
            Step::Ended => return Err(invalid(*byte, "after top-level value")),
            Step::Wrong(why) => return Err(why),
        }
    }
    match end {
        Some(end) => Ok(text[..end].trim_ascii()),
        None if scanner.may_end() => Ok(text.trim_ascii()),
        None => Err("unexpected end of JSON input".to_owned()),
    }
}

pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn wrong(byte: u8, place: &str) -> Step {
    Step::Wrong(invalid(byte, place))
}

fn invalid(byte: u8, place: &str) -> String {
    format!("invalid character {} {place}", quoted(byte))
}

/// A byte as Go quotes it: as the character of that number.
fn quoted(byte: u8) -> String {
    let shown = match byte {
        b'\'' => "\\'".to_owned(),
        b'\\' => "\\\\".to_owned(),
        0x07 => "\\a".to_owned(),
        0x08 => "\\b".to_owned(),
        0x0b => "\\v".to_owned(),
        0x0c => "\\f".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        0..0x20 => format!("\\x{byte:02x}"),
        0x7f..0xa1 | 0xad => format!("\\u{byte:04x}"),
        _ => char::from(byte).to_string(),
    };
    format!("'{shown}'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_wrong_is_said_as_go_says_it() {
        for (text, expected) in [
            ("", "unexpected end of JSON input"),
            (
                "abc",
                "invalid character 'a' looking for beginning of value",
            ),
            ("01", "invalid character '1' after top-level value"),
            ("1.", "unexpected end of JSON input"),
            (
                "1.x",
                "invalid character 'x' after decimal point in numeric literal",
            ),
            ("1e+", "unexpected end of JSON input"),
            (
                "1ex",
                "invalid character 'x' in exponent of numeric literal",
            ),
            ("-x", "invalid character 'x' in numeric literal"),
            ("[1 2]", "invalid character '2' after array element"),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
            (
                "{'a'}",
                "invalid character '\\'' looking for beginning of object key string",
            ),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            (
                "{\"a\":1 2}",
                "invalid character '2' after object key:value pair",
            ),
            (
                "{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string",
            ),
            (
                "nulx",
                "invalid character 'x' in literal null (expecting 'l')",
            ),
            ("\"\n\"", "invalid character '\\n' in string literal"),
            ("\"\\q\"", "invalid character 'q' in string escape code"),
            (
                "\"\\u00g\"",
                "invalid character 'g' in \\u hexadecimal character escape",
            ),
            (
                "\u{e9}",
                "invalid character '\u{c3}' looking for beginning of value",
            ),
        ] {
            assert_eq!(whole(text.as_bytes()), Err(expected.to_owned()), "{text}");
        }
        let deep = "[".repeat(DEPTH_MAX + 1);
        let expected = "invalid character '[' exceeded max depth";
        assert_eq!(whole(deep.as_bytes()), Err(expected.to_owned()));
        assert_eq!(
            whole(b" [1, {\"a\" : -0.5e1}] "),
            Ok(&b"[1, {\"a\" : -0.5e1}]"[..])
        );
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                proptest::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn well_formed_values_are_taken(value in json()) {
            let text = value.to_string();
            prop_assert_eq!(whole(text.as_bytes()), Ok(text.as_bytes()));
            // No beginning of an array or object is one.
            if text.starts_with(['{', '[']) {
                for end in 0..text.len() {
                    prop_assert!(whole(&text.as_bytes()[..end]).is_err());
                }
            }
        }

        #[test]
        fn garbage_is_taken_where_serde_takes_it(text in "[\\[\\]{}\":,0-9eE+.a\\\\unlt \\-]{0,12}") {
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text);
            // serde reads no number that is larger than a float.
            let is_range = theirs.as_ref().is_err_and(|error| error.to_string().contains("range"));
            prop_assume!(!is_range);
            prop_assert_eq!(whole(text.as_bytes()).is_ok(), theirs.is_ok());
        }
    }
}
