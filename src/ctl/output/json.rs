//! JSON as Go's encoder writes it: compact, in declaration order, bytes as base64, zero fields of
//! messages left out, and `<`, `>`, `&` escaped.

use base64::prelude::{BASE64_STANDARD as STANDARD, Engine as _};
use std::fmt::{self, Write as _};

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(&'static str, Json)>),
}

impl Json {
    pub fn object() -> Json {
        Json::Object(Vec::new())
    }

    pub fn bytes(bytes: &[u8]) -> Json {
        Json::Text(STANDARD.encode(bytes))
    }

    pub fn list<T>(items: impl IntoIterator<Item = T>, show: impl Fn(T) -> Json) -> Json {
        Json::List(items.into_iter().map(show).collect())
    }

    /// Adds a field, whatever it holds.
    pub fn with(mut self, name: &'static str, value: impl Into<Json>) -> Json {
        let Json::Object(fields) = &mut self else {
            panic!("{name} needs an object")
        };
        fields.push((name, value.into()));
        self
    }

    /// Adds a field unless it holds nothing: false, zero, or empty.
    pub fn with_some(self, name: &'static str, value: impl Into<Json>) -> Json {
        let value = value.into();
        if value.is_empty() {
            self
        } else {
            self.with(name, value)
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Json::Null => true,
            Json::Bool(value) => !value,
            Json::Int(value) => *value == 0,
            Json::Uint(value) => *value == 0,
            Json::Text(text) => text.is_empty(),
            Json::List(items) => items.is_empty(),
            // A message that is there is shown, even if it says nothing.
            Json::Object(_) => false,
        }
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Json {
        Json::Bool(value)
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Json {
        Json::Int(value)
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Json {
        Json::Uint(value)
    }
}

impl From<u32> for Json {
    fn from(value: u32) -> Json {
        Json::Uint(value.into())
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::Text(text.to_owned())
    }
}

impl From<&[String]> for Json {
    fn from(texts: &[String]) -> Json {
        Json::list(texts, |text| Json::from(&text[..]))
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Json {
        value.map_or(Json::Null, Into::into)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Int(value) => write!(f, "{value}"),
            Json::Uint(value) => write!(f, "{value}"),
            Json::Text(text) => write_text(text, f),
            Json::List(items) => {
                f.write_char('[')?;
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if at == 0 { "" } else { "," })?;
                }
                f.write_char(']')
            }
            Json::Object(fields) => {
                f.write_char('{')?;
                for (at, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}\"{name}\":{value}", if at == 0 { "" } else { "," })?;
                }
                f.write_char('}')
            }
        }
    }
}

fn write_text(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '<' | '>' | '&' | '\u{0}'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                write!(f, "\\u{:04x}", u32::from(character))?;
            }
            _ => f.write_char(character)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_go_does() {
        let json = Json::object()
            .with("a", "<\"\\\u{1}é>")
            .with_some("left_out", 0i64)
            .with("kept", 0i64)
            .with_some("message", Json::object())
            .with(
                "list",
                Json::List(vec![Json::Null, true.into(), u64::MAX.into()]),
            );
        let expected = r#"{"a":"\u003c\"\\\u0001é\u003e","kept":0,"message":{},"list":[null,true,18446744073709551615]}"#;
        assert_eq!(json.to_string(), expected);
    }
}
