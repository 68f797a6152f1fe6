//! The values of a YAML (or JSON) file, with the lines of their keys.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::fmt;

/// A value of the file.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<Entry>),
}

/// A key, where it stands, and its value.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub line: u64,
    pub value: Value,
}

/// What is wrong with a file, and in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub line: Option<u64>,
    pub text: String,
}

/// The keys of a file. An empty file has none.
pub(super) fn read(text: &str) -> Result<Vec<Entry>, Problem> {
    match serde_saphyr::from_str(text) {
        Ok(Value::Map(entries)) => Ok(entries),
        Ok(Value::Null) => Ok(Vec::new()),
        Ok(_) => Err(Problem {
            line: None,
            text: "a map of keys and values is wanted".to_owned(),
        }),
        Err(error) => Err(problem(&error)),
    }
}

fn problem(error: &serde_saphyr::Error) -> Problem {
    let location = error.location();
    let text = error.without_snippet().to_string();
    // The place is told apart.
    let text = match text.rsplit_once(" at line ") {
        Some((text, place)) if place.starts_with(|it: char| it.is_ascii_digit()) => text.to_owned(),
        _ => text,
    };
    let line = location.map(|it| it.line()).filter(|line| *line > 0);
    Problem { line, text }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            entries.push(Entry {
                line: key.referenced.line(),
                key: key.value,
                value: map.next_value()?,
            });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_know_their_lines_at_every_depth() {
        let entries = read("# a comment\nname: a\n\nbelow:\n  deep: 1\n").unwrap();
        assert_eq!((&entries[0].key[..], entries[0].line), ("name", 2));
        let Value::Map(below) = &entries[1].value else {
            panic!("{entries:?}")
        };
        assert_eq!((&below[0].key[..], below[0].line), ("deep", 5));
        assert_eq!(below[0].value, Value::Int(1));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_with_the_line() {
        for (text, line) in [
            ("name: a\nb: c: d\n", 2),
            ("name: a\nname: b\n", 2),
            ("{\"name\": \"a\",\n \"b\" \"c\"}", 2),
        ] {
            let problem = read(text).unwrap_err();
            assert_eq!(problem.line, Some(line), "{problem:?}");
            assert!(!problem.text.contains("line"), "{problem:?}");
        }
        assert_eq!(read("").unwrap(), []);
        assert!(read("- a\n").is_err() && read("a").is_err());
    }
}
