//! Traces as lines: JSON for files, and text for people.

use super::{Event, Sink, Value};
use regex::Regex;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

/// Writes every event into a file, as one line of JSON: `ns`, `node`, `kind`, and then the fields
/// of the event.
pub struct JsonLines {
    file: BufWriter<File>,
    problem: io::Result<()>,
}

impl JsonLines {
    pub fn create(path: &Path) -> io::Result<JsonLines> {
        Ok(JsonLines {
            file: BufWriter::new(File::create(path)?),
            problem: Ok(()),
        })
    }
}

impl Sink for JsonLines {
    fn event(&mut self, event: &Event<'_>) {
        if self.problem.is_ok() {
            self.problem = write_json(&mut self.file, event);
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        std::mem::replace(&mut self.problem, Ok(()))?;
        self.file.flush()
    }
}

fn write_json(to: &mut impl Write, event: &Event<'_>) -> io::Result<()> {
    write!(to, "{{\"ns\":{},\"node\":", event.at.as_nanos())?;
    serde_json::to_writer(&mut *to, event.node)?;
    to.write_all(b",\"kind\":")?;
    serde_json::to_writer(&mut *to, event.kind)?;
    for (name, value) in event.fields {
        let is_taken = ["ns", "node", "kind"].contains(name);
        assert!(
            !is_taken,
            "an event's field is named as what every line has: {name}"
        );
        write!(to, ",\"{name}\":")?;
        match value {
            Value::Number(number) => write!(to, "{number}")?,
            Value::Signed(number) => write!(to, "{number}")?,
            Value::Text(text) => serde_json::to_writer(&mut *to, text)?,
            Value::Shown(shown) => serde_json::to_writer(&mut *to, &shown.to_string())?,
        }
    }
    to.write_all(b"}\n")
}

/// Which events somebody wants to see.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub until: Option<Duration>,
    /// "m2", "c1", "net"; a number alone is a member's.
    pub node: Option<String>,
    pub grep: Option<Regex>,
}

impl Wanted {
    pub fn takes(&self, line: &Line) -> bool {
        let in_time = self.until.is_none_or(|until| line.at <= until);
        let of_node = self.node.as_ref().is_none_or(|node| {
            let is_number = node.bytes().all(|byte| byte.is_ascii_digit());
            match is_number {
                true => line.node.strip_prefix('m') == Some(node),
                false => line.node == *node,
            }
        });
        in_time && of_node && self.matches(line)
    }

    fn matches(&self, line: &Line) -> bool {
        let matches = |grep: &Regex| grep.is_match(&line.to_string());
        self.grep.as_ref().is_none_or(matches)
    }
}

/// Prints the wanted events for a person.
pub struct Printer<W> {
    to: W,
    wanted: Wanted,
    problem: io::Result<()>,
}

impl<W: Write> Printer<W> {
    pub fn new(to: W, wanted: Wanted) -> Printer<W> {
        Printer {
            to,
            wanted,
            problem: Ok(()),
        }
    }

    pub fn line(&mut self, line: &Line) {
        if self.problem.is_ok() && self.wanted.takes(line) {
            self.problem = writeln!(self.to, "{line}");
        }
    }
}

impl<W: Write> Sink for Printer<W> {
    fn event(&mut self, event: &Event<'_>) {
        if self.wanted.until.is_none_or(|until| event.at <= until) {
            self.line(&Line::of(event));
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        std::mem::replace(&mut self.problem, Ok(()))?;
        self.to.flush()
    }
}

/// An event as a line for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub at: Duration,
    pub node: String,
    pub kind: String,
    /// Names and values.
    pub fields: Vec<(String, String)>,
}

impl Line {
    fn of(event: &Event<'_>) -> Line {
        let fields = event.fields.iter();
        Line {
            at: event.at,
            node: event.node.to_owned(),
            kind: event.kind.to_owned(),
            fields: fields
                .map(|(name, value)| ((*name).to_owned(), value.to_string()))
                .collect(),
        }
    }

    /// Reads what [`JsonLines`] wrote.
    pub fn parse(json: &str) -> Result<Line, serde_json::Error> {
        serde_json::from_str(json)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.at.as_secs(), self.at.subsec_micros());
        write!(f, "{seconds:>4}.{micros:06} {:<4} {}", self.node, self.kind)?;
        for (name, value) in &self.fields {
            match name.as_str() {
                "what" => write!(f, " {value}")?,
                _ => write!(f, " {name}={value}")?,
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Line, D::Error> {
        deserializer.deserialize_map(LineVisitor)
    }
}

/// Keeps fields in the order in which they were written.
struct LineVisitor;

impl<'de> Visitor<'de> for LineVisitor {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event of a trace")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
        let (mut at, mut node, mut kind) = (None, None, None);
        let mut fields = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "ns" => at = Some(Duration::from_nanos(map.next_value()?)),
                "node" => node = Some(map.next_value()?),
                "kind" => kind = Some(map.next_value()?),
                _ => {
                    let value = match map.next_value::<serde_json::Value>()? {
                        serde_json::Value::String(text) => text,
                        other => other.to_string(),
                    };
                    fields.push((name, value));
                }
            }
        }
        let missing = A::Error::missing_field;
        Ok(Line {
            at: at.ok_or_else(|| missing("ns"))?,
            node: node.ok_or_else(|| missing("node"))?,
            kind: kind.ok_or_else(|| missing("kind"))?,
            fields,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event_line(json: &str) -> Line {
        Line::parse(json).expect("it is a line")
    }

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let shown = format_args!("a \"quoted\"\nname").to_string();
        let fields = [
            ("index", Value::Number(u64::MAX)),
            ("offset", Value::Signed(-3)),
            ("why", Value::Text("cut")),
            ("name", Value::Shown(&shown)),
        ];
        let event = Event {
            at: Duration::from_nanos(1_204_331_007),
            node: "m1",
            kind: "net.lost",
            fields: &fields,
        };
        let mut json = Vec::new();
        write_json(&mut json, &event).expect("memory takes every write");
        let json = String::from_utf8(json).expect("JSON is text");
        let line = event_line(json.trim_end());
        assert_eq!(json.lines().count(), 1);
        assert_eq!(line, Line::of(&event));
        assert_eq!(
            line.to_string().lines().next(),
            Some(
                "   1.204331 m1   net.lost index=18446744073709551615 offset=-3 why=cut name=a \"quoted\""
            )
        );
    }

    #[test]
    fn only_what_is_wanted_is_printed() {
        let lines = [
            r#"{"ns":1000000000,"node":"m1","kind":"raft.role","term":2}"#,
            r#"{"ns":1000000000,"node":"c1","kind":"client.call","what":"put k/1"}"#,
            r#"{"ns":2000000000,"node":"m1","kind":"raft.role","term":3}"#,
        ];
        let print = |wanted: Wanted| {
            let mut printer = Printer::new(Vec::new(), wanted);
            lines
                .iter()
                .for_each(|line| printer.line(&event_line(line)));
            printer.finish().expect("memory takes every write");
            String::from_utf8(printer.to).expect("lines are text")
        };
        let all = print(Wanted::default());
        assert_eq!(all.lines().count(), 3);
        let until = Some(Duration::from_secs(1));
        assert_eq!(
            print(Wanted {
                until,
                ..Wanted::default()
            })
            .lines()
            .count(),
            2
        );
        for node in ["m1", "1"] {
            let node = Some(node.to_owned());
            assert_eq!(
                print(Wanted {
                    node,
                    ..Wanted::default()
                })
                .lines()
                .count(),
                2
            );
        }
        let grep = Some(Regex::new("role term=[3-9]").expect("it is an expression"));
        let found = print(Wanted {
            grep,
            ..Wanted::default()
        });
        assert_eq!(found, "   2.000000 m1   raft.role term=3\n");
    }
}
