//! The file of `--config-file`: YAML (or JSON) whose keys are the names of flags, with dashes or
//! underscores, alone or below `etcd:`. As in etcd, flags and variables then do not count.

use super::flags::{self, Kind};
use super::parse::{Given, Source};
use super::{Notice, UsageError};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A value of the file.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Value {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Map(BTreeMap<String, Option<Value>>),
}

/// The maps of the ports' TLS, and the flags that their keys stand for.
const PORTS: &[(&str, &[(&str, &str)])] = &[
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
];

/// What the file gives, in the place of what was given otherwise.
pub(super) fn read(given: &Given, notices: &mut Vec<Notice>) -> Result<Given, UsageError> {
    let path = given.text("config-file");
    let refused = |problem: String| UsageError::Verify(format!("config file {path}: {problem}"));
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    let others = given.names().filter(|name| *name != "config-file");
    let left_out = others.map(|name| {
        let flag = flags::find(name).expect("a flag of the table");
        Notice::LeftOut(given.place(flag))
    });
    // What was read of the environment is told as left out.
    notices.retain(|notice| !matches!(notice, Notice::UsedVariable(..)));
    notices.extend(left_out);
    parse(&text).map_err(refused)
}

fn parse(text: &str) -> Result<Given, String> {
    let read: Option<BTreeMap<String, Option<Value>>> =
        serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let mut keys = read.unwrap_or_default();
    if let Some(Some(Value::Map(_))) = keys.get("etcd") {
        if keys.len() > 1 {
            return Err("nothing may stand beside the map \"etcd\"".to_owned());
        }
        let Some(Some(Value::Map(below))) = keys.remove("etcd") else {
            unreachable!("it was looked at")
        };
        keys = below;
    }
    let mut given = Given::default();
    let mut named = Vec::new();
    for (key, value) in keys {
        let name = key.replace('_', "-");
        match (PORTS.iter().find(|(map, _)| *map == name), value) {
            (Some((map, flags)), Some(Value::Map(below))) => {
                for (key, value) in below {
                    let found = flags.iter().find(|(known, _)| *known == key);
                    let (_, flag) = found.ok_or_else(|| format!("unknown key {key:?} in {map}"))?;
                    named.push((key, (*flag).to_owned(), value));
                }
            }
            (_, value) => named.push((key, name, value)),
        }
    }
    for (key, name, value) in named {
        let flag = flags::find(&name)
            .filter(|flag| !flag.is_question() && flag.name != "config-file")
            .ok_or_else(|| format!("unknown key {key:?}"))?;
        if given.is_set(flag.name) {
            return Err(format!("key {key:?} stands twice"));
        }
        let text = match value {
            None => continue,
            Some(value) => as_text(&value, flag.kind).ok_or_else(|| match value {
                Value::Map(_) => format!("key {key:?} has a map, and wants one value"),
                _ => format!("key {key:?} has a list, and wants one value"),
            })?,
        };
        // As of variables: what is empty says nothing.
        if !text.is_empty() {
            given.set_checked(flag, text, Source::File, &format!("key {key:?}"))?;
        }
    }
    Ok(given)
}

/// The value as a flag would give it.
fn as_text(value: &Value, kind: Kind) -> Option<String> {
    Some(match value {
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

    #[test]
    fn keys_are_the_names_of_flags_alone_or_below_etcd() {
        for text in [
            "name: a\nsnapshot-count: 7\nlisten-client-urls: http://127.0.0.1:1,http://127.0.0.1:2\n",
            "etcd:\n  name: a\n  snapshot_count: 7\n  listen_client_urls:\n    - http://127.0.0.1:1\n    - http://127.0.0.1:2\n",
            r#"{"name": "a", "snapshot-count": "7", "listen-client-urls": "http://127.0.0.1:1,http://127.0.0.1:2", "data-dir": null}"#,
        ] {
            let given = parse(text).expect(text);
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
            let given = parse(&format!("watch-progress-notify-interval: {text}")).unwrap();
            let text = given.text("watch-progress-notify-interval");
            assert_eq!(super::super::parse::parse_duration_ms(text), Some(600_000));
        }
    }

    #[test]
    fn maps_of_the_ports_stand_for_flags() {
        let text = "client-transport-security:\n  cert-file: a\n  client-cert-auth: true\n\
                    peer-transport-security: {allowed-cn: name, key-file: null}\n";
        let given = parse(text).unwrap();
        assert_eq!(given.text("cert-file"), "a");
        assert_eq!(given.text("client-cert-auth"), "true");
        assert_eq!(given.text("peer-cert-allowed-cn"), "name");
        assert!(!given.is_set("peer-cert-file") && !given.is_set("peer-key-file"));
    }

    #[test]
    fn nothing_is_left_out_in_silence() {
        for (text, problem) in [
            ("nmae: a", "unknown key \"nmae\""),
            ("version: true", "unknown key \"version\""),
            (
                "client-transport-security: {allowed-cn: x}",
                "unknown key \"allowed-cn\" in client-transport-security",
            ),
            (
                "name: {a: b}",
                "key \"name\" has a map, and wants one value",
            ),
            (
                "etcd: {name: a}\nname: b",
                "nothing may stand beside the map \"etcd\"",
            ),
            (
                "initial_cluster: a\ninitial-cluster: b",
                "key \"initial_cluster\" stands twice",
            ),
            (
                "snapshot-count: x",
                "invalid value \"x\" for key \"snapshot-count\": parse error",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), problem, "{text}");
        }
        assert!(parse("a: b: c").is_err());
    }
}
