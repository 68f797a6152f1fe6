//! The file of `--config-file`: YAML (or JSON) whose keys are the names of flags, with dashes or
//! underscores, alone or below `etcd:`. Every mistake in it is told with its line. As in etcd, flags and variables then do not count.

use super::flags::{self, Flag, Kind};
use super::nearest::nearest;
use super::parse::{Given, Source};
use super::yaml::{self, Entry, Problem, Value};
use super::{Notice, UsageError};
use std::io::ErrorKind;
use std::time::Duration;

/// The maps, and the flags that their keys stand for.
const MAPS: &[(&str, &[(&str, &str)])] = &[
    (
        "client-transport-security",
        &[
            ("cert-file", "cert-file"),
            ("key-file", "key-file"),
            ("client-cert-file", "client-cert-file"),
            ("client-key-file", "client-key-file"),
            ("client-cert-auth", "client-cert-auth"),
            ("trusted-ca-file", "trusted-ca-file"),
            ("auto-tls", "auto-tls"),
            ("allowed-hostname", "client-cert-allowed-hostname"),
        ],
    ),
    (
        "peer-transport-security",
        &[
            ("cert-file", "peer-cert-file"),
            ("key-file", "peer-key-file"),
            ("client-cert-file", "peer-client-cert-file"),
            ("client-key-file", "peer-client-key-file"),
            ("client-cert-auth", "peer-client-cert-auth"),
            ("trusted-ca-file", "peer-trusted-ca-file"),
            ("auto-tls", "peer-auto-tls"),
            ("allowed-cn", "peer-cert-allowed-cn"),
            ("allowed-hostname", "peer-cert-allowed-hostname"),
            (
                "skip-client-san-verification",
                "peer-skip-client-san-verification",
            ),
        ],
    ),
    (
        "socket-options",
        &[
            ("reuse-port", "socket-reuse-port"),
            ("reuse-address", "socket-reuse-address"),
        ],
    ),
];

/// Every key that gives the value of the flag `name`; maps and their keys with a dot between.
#[cfg(test)]
pub(super) fn keys(name: &str) -> impl Iterator<Item = String> {
    let below = MAPS.iter().flat_map(move |(map, flags)| {
        let of_flag = flags.iter().filter(move |(_, flag)| *flag == name);
        of_flag.map(move |(key, _)| format!("{map}.{key}"))
    });
    std::iter::once(name.to_owned()).chain(below)
}

/// A file, and everything that is wrong with it.
pub(super) struct File {
    pub given: Given,
    pub problems: Vec<Problem>,
}

/// What the file gives, in the place of what was given otherwise.
pub(super) fn read(given: &Given, notices: &mut Vec<Notice>) -> Result<Given, UsageError> {
    let path = given.text("config-file");
    let file = open(path)?;
    if let Some(problem) = file.problems.first() {
        return Err(UsageError::Verify(render(path, problem)));
    }
    let others = given.names().filter(|name| *name != "config-file");
    let left_out = others.map(|name| {
        let flag = flags::find(name).expect("a flag of the table");
        Notice::LeftOut(given.place(flag))
    });
    // What was read of the environment is told as left out.
    notices.retain(|notice| !matches!(notice, Notice::UsedVariable(..)));
    notices.extend(left_out);
    Ok(file.given)
}

/// Reads the file at `path`.
pub(super) fn open(path: &str) -> Result<File, UsageError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        // As Go words them.
        UsageError::Verify(match error.kind() {
            ErrorKind::NotFound => format!("open {path}: no such file or directory"),
            ErrorKind::PermissionDenied => format!("open {path}: permission denied"),
            ErrorKind::IsADirectory => format!("read {path}: is a directory"),
            _ => format!("read {path}: {error}"),
        })
    })?;
    Ok(parse(&text))
}

/// `FILE:LINE: PROBLEM`.
pub(super) fn render(path: &str, problem: &Problem) -> String {
    match problem.line {
        Some(line) => format!("{path}:{line}: {}", problem.text),
        None => format!("{path}: {}", problem.text),
    }
}

fn parse(text: &str) -> File {
    let (given, mut problems) = (Given::default(), Vec::new());
    let mut file = match yaml::read(text) {
        Ok(entries) => {
            let entries = unwrapped(entries, &mut problems);
            let mut file = File { given, problems };
            entries.into_iter().for_each(|entry| file.top(entry));
            file
        }
        Err(problem) => File {
            given,
            problems: vec![problem],
        },
    };
    file.problems.sort_by_key(|problem| problem.line);
    file
}

/// What stands below `etcd:`, if all does.
fn unwrapped(mut entries: Vec<Entry>, problems: &mut Vec<Problem>) -> Vec<Entry> {
    let is_map = |entry: &Entry| entry.key == "etcd" && matches!(entry.value, Value::Map(_));
    let Some(at) = entries.iter().position(is_map) else {
        return entries;
    };
    let map = entries.remove(at);
    problems.extend(entries.into_iter().map(|entry| Problem {
        line: Some(entry.line),
        text: format!(
            "key {:?} stands beside the map \"etcd\": move it below etcd",
            entry.key
        ),
    }));
    match map.value {
        Value::Map(below) => below,
        _ => unreachable!("it was looked at"),
    }
}

impl File {
    fn top(&mut self, entry: Entry) {
        let name = entry.key.replace('_', "-");
        let map = MAPS.iter().find(|(map, _)| *map == name);
        match (map, entry.value) {
            (Some(_), Value::Null) => {}
            (Some((map, flags)), Value::Map(below)) => {
                for entry in below {
                    let name = entry.key.replace('_', "-");
                    match flags.iter().find(|(known, _)| *known == name) {
                        Some((_, flag)) => {
                            let flag = flags::find(flag).expect("a flag of the table");
                            self.set(flag, entry);
                        }
                        None => {
                            let known = flags.iter().map(|(known, _)| *known);
                            self.unknown(&entry, &format!(" in {map}"), known);
                        }
                    }
                }
            }
            (Some((map, _)), _) => self.problem(entry.line, format!("{map} wants a map of keys")),
            (None, value) => {
                let entry = Entry { value, ..entry };
                let is_key = |flag: &&Flag| !flag.is_question() && flag.name != "config-file";
                match flags::find(&name).filter(is_key) {
                    Some(flag) => self.set(flag, entry),
                    None => {
                        let flags = flags::all().filter(is_key).map(|flag| flag.name);
                        self.unknown(&entry, "", flags.chain(MAPS.iter().map(|(map, _)| *map)));
                    }
                }
            }
        }
    }

    fn set(&mut self, flag: &'static Flag, entry: Entry) {
        let Entry { key, line, value } = entry;
        if let Some(Source::File(first)) = self.given.source(flag.name) {
            let text = format!("key {key:?} says --{} again, after line {first}", flag.name);
            return self.problem(line, text);
        }
        let Some(text) = as_text(&value, flag.kind) else {
            let found = match value {
                Value::Map(_) => "a map",
                _ => "a list of more than values",
            };
            return self.problem(
                line,
                format!("key {key:?} has {found}, and wants one value"),
            );
        };
        // As of variables: what is empty says nothing.
        if text.is_empty() {
            return;
        }
        let place = format!("key {key:?}");
        let source = Source::File(line);
        if let Err(problem) = self.given.set_checked(flag, text, source, &place) {
            self.problem(line, problem);
        }
    }

    fn unknown<'a>(&mut self, entry: &Entry, place: &str, known: impl Iterator<Item = &'a str>) {
        let hint = match nearest(&entry.key.replace('_', "-"), known) {
            Some(known) => format!("; did you mean {known:?}?"),
            None => String::new(),
        };
        self.problem(
            entry.line,
            format!("unknown key {:?}{place}{hint}", entry.key),
        );
    }

    fn problem(&mut self, line: u64, text: String) {
        let line = Some(line);
        self.problems.push(Problem { line, text });
    }
}

/// The value as a flag would give it.
fn as_text(value: &Value, kind: Kind) -> Option<String> {
    Some(match value {
        Value::Null => String::new(),
        Value::Bool(yes) => yes.to_string(),
        // etcd's files give durations in nanoseconds.
        Value::Int(nanos) if kind == Kind::Duration => match u64::try_from(*nanos) {
            Ok(nanos) => format!("{}ns", Duration::from_nanos(nanos).as_nanos()),
            Err(_) => nanos.to_string(),
        },
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::List(values) => {
            let texts: Option<Vec<String>> = values
                .iter()
                .map(|value| match value {
                    Value::List(_) | Value::Map(_) => None,
                    value => as_text(value, kind),
                })
                .collect();
            texts?.join(",")
        }
        Value::Map(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> Given {
        let file = super::parse(text);
        assert_eq!(file.problems, [], "{text}");
        file.given
    }

    #[test]
    fn keys_are_the_names_of_flags_alone_or_below_etcd() {
        for text in [
            "name: a\nsnapshot-count: 7\nlisten-client-urls: http://127.0.0.1:1,http://127.0.0.1:2\n",
            "etcd:\n  name: a\n  snapshot_count: 7\n  listen_client_urls:\n    - http://127.0.0.1:1\n    - http://127.0.0.1:2\n",
            r#"{"name": "a", "snapshot-count": "7", "listen-client-urls": "http://127.0.0.1:1,http://127.0.0.1:2", "data-dir": null}"#,
        ] {
            let given = good(text);
            assert_eq!(given.text("name"), "a");
            assert_eq!(given.text("snapshot-count"), "7");
            assert_eq!(
                given.text("listen-client-urls"),
                "http://127.0.0.1:1,http://127.0.0.1:2"
            );
            assert!(!given.is_set("data-dir"));
        }
    }

    #[test]
    fn durations_are_nanoseconds_or_words() {
        for text in ["10m", "600000000000"] {
            let given = good(&format!("watch-progress-notify-interval: {text}"));
            let text = given.text("watch-progress-notify-interval");
            assert_eq!(super::super::parse::parse_duration_ms(text), Some(600_000));
        }
    }

    #[test]
    fn maps_stand_for_flags() {
        let text = "client-transport-security:\n  cert-file: a\n  client-cert-auth: true\n\
                    peer-transport-security: {allowed-cn: name, key-file: null}\n\
                    socket-options:\n  reuse-port: true\n";
        let given = good(text);
        assert_eq!(given.text("cert-file"), "a");
        assert_eq!(given.text("client-cert-auth"), "true");
        assert_eq!(given.text("peer-cert-allowed-cn"), "name");
        assert_eq!(given.text("socket-reuse-port"), "true");
        assert!(!given.is_set("peer-cert-file") && !given.is_set("peer-key-file"));
    }

    #[test]
    fn nothing_is_left_out_in_silence() {
        for (text, problem) in [
            (
                "nmae: a",
                "f:1: unknown key \"nmae\"; did you mean \"name\"?",
            ),
            ("name: a\n\nversion: true", "f:3: unknown key \"version\""),
            ("qqqqqqqqqqqq: 1", "f:1: unknown key \"qqqqqqqqqqqq\""),
            (
                "client-transport-security:\n  cert-fil: x",
                "f:2: unknown key \"cert-fil\" in client-transport-security; did you mean \
                 \"cert-file\"?",
            ),
            (
                "client-transport-security: 3",
                "f:1: client-transport-security wants a map of keys",
            ),
            (
                "name: {a: b}",
                "f:1: key \"name\" has a map, and wants one value",
            ),
            (
                "etcd: {name: a}\nname: b",
                "f:2: key \"name\" stands beside the map \"etcd\": move it below etcd",
            ),
            (
                "initial_cluster: a\ninitial-cluster: b",
                "f:2: key \"initial-cluster\" says --initial-cluster again, after line 1",
            ),
            (
                "snapshot-count: x",
                "f:1: invalid value \"x\" for key \"snapshot-count\": parse error",
            ),
        ] {
            let problems = parse(text).problems;
            let texts: Vec<String> = problems.iter().map(|it| render("f", it)).collect();
            assert_eq!(texts, [problem], "{text}");
        }
        assert_eq!(parse("a: 1\nb: 2\n").problems.len(), 2, "each is told");
    }
}
