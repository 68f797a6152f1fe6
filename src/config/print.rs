//! What `detcd config print` shows: the effective value of each flag, and where it came from.

use super::flags::{self, Flag, Kind, Status};
use super::parse::{self, Given, Source};
use super::{Config, UsageError, addresses, complete, resolve};
use detcd_core::go::parse_bool;
use std::fmt::Write as _;

/// A line of YAML for each flag: key, value and, as a comment, the source of the value. Takes what
/// the server takes, and refuses what it refuses.
pub fn print(args: &[String], variables: &[(String, String)]) -> Result<String, UsageError> {
    let arguments = parse::arguments(args)?;
    let path = arguments.text("config-file").to_owned();
    let (given, mut notices) = complete(arguments, variables)?;
    let config = resolve::resolve(&given, &mut notices)?;
    let given = addresses::translate(&given)?;
    let mut text = String::new();
    for section in flags::SECTIONS {
        let mut lines = String::new();
        for flag in section.flags.iter().filter(|flag| is_shown(flag, &given)) {
            let (value, source) = effective(flag, &given, &config, &path);
            let line = format!("{}: {}", flag.name, value);
            let mark = match flag.status {
                Status::Works | Status::DefaultOnly => "",
                Status::Inert => " (inert)",
                Status::Dropped => " (dropped)",
            };
            let _ = writeln!(lines, "{line:<60} # {source}{mark}");
        }
        if !lines.is_empty() {
            let _ = write!(text, "# {}\n{lines}\n", section.title);
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    Ok(text)
}

/// The addresses of etcd 0.2 mean something only where one of them is given.
fn is_shown(flag: &Flag, given: &Given) -> bool {
    let is_old = flag.kind == Kind::Address || flag.status == Status::Dropped;
    !flag.is_question() && flag.name != "config-file" && (!is_old || given.is_set(flag.name))
}

/// The value as YAML, and its source.
fn effective(flag: &Flag, given: &Given, config: &Config, path: &str) -> (String, String) {
    let made_of = |name: &str| format!("default, made of {name}");
    let (text, source) = match (flag.name, given.source(flag.name)) {
        ("data-dir", None) => (config.data_dir.display().to_string(), made_of("name")),
        ("initial-cluster", None) => {
            let source = made_of("name and initial-advertise-peer-urls");
            (config.initial_cluster.clone(), source)
        }
        ("initial-cluster-token", None) if config.discovery.is_some() => {
            (config.initial_cluster_token.clone(), "discovery".to_owned())
        }
        (name, source) => {
            let source = match source {
                None => "default".to_owned(),
                Some(Source::Flag) => format!("flag -{name}"),
                Some(Source::Env) => flag.env(),
                Some(Source::File(line)) => format!("{path}:{line}"),
                Some(Source::Other(by)) => format!("{by}, of etcd 0.2"),
            };
            (given.text(name).to_owned(), source)
        }
    };
    let value = match flag.kind {
        Kind::Bool => (parse_bool(&text) == Some(true)).to_string(),
        Kind::Uint | Kind::Int => text,
        // A JSON string is one of YAML's, too.
        _ => serde_json::to_string(&text).expect("a text has no other form"),
    };
    (value, source)
}

#[cfg(test)]
mod tests {
    use super::super::{Request, read};
    use super::*;

    /// A value of the flag that is not its default and goes with the others' defaults.
    fn other_value(flag: &Flag) -> Option<(String, String)> {
        let quoted = |text: &str| (text.to_owned(), format!("{text:?}"));
        let plain = |text: &str| (text.to_owned(), text.to_owned());
        Some(match flag.name {
            _ if flag.status == Status::DefaultOnly || flag.is_question() => return None,
            "config-file" | "peers-file" => return None,
            // They want others beside them.
            "listen-client-urls"
            | "cert-file"
            | "key-file"
            | "peer-cert-file"
            | "peer-key-file"
            | "peer-client-cert-file"
            | "peer-client-key-file"
            | "client-cert-file"
            | "client-key-file" => return None,
            "discovery" | "discovery-proxy" => quoted("http://127.0.0.1:1/x"),
            "peers" => quoted("127.0.0.1:7"),
            "discovery-srv-server" => quoted("127.0.0.1:53"),
            "etcd-version" => quoted("3.5.1"),
            "heartbeat-interval" => plain("50"),
            "election-timeout" => plain("2000"),
            "cipher-suites" => quoted("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
            "tls-min-version" | "tls-max-version" => quoted("TLS1.3"),
            "auth-token" => quoted("simple,a=b"),
            _ => match flag.kind {
                Kind::Bool => plain(if flag.default == "true" {
                    "false"
                } else {
                    "true"
                }),
                Kind::Uint | Kind::Int => plain("7"),
                Kind::Duration => quoted("17s"),
                Kind::Urls => quoted("http://127.0.0.1:7"),
                Kind::Address => quoted("127.0.0.1:7"),
                Kind::OneOf(words) => match words.iter().find(|word| **word != flag.default) {
                    Some(word) => quoted(word),
                    None => return None,
                },
                Kind::Text => quoted("y"),
            },
        })
    }

    fn line_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
        let start = format!("{name}: ");
        text.lines().find(|line| line.starts_with(&start))
    }

    #[test]
    fn each_flag_is_given_by_flag_variable_and_file_and_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etcd.yml");
        let path = path.to_str().unwrap();
        let from_file = [format!("--config-file={path}")];
        for flag in flags::all() {
            let Some((value, shown)) = other_value(flag) else {
                continue;
            };
            let name = flag.name;
            let assert_shown = |printed: Result<String, UsageError>, source: &str| {
                let printed = printed.unwrap_or_else(|error| panic!("{name}: {error}"));
                let line = line_of(&printed, name).unwrap_or_else(|| panic!("{name}: {printed}"));
                let (found, comment) = line.split_once(" # ").unwrap();
                assert_eq!(found.trim_end(), format!("{name}: {shown}"));
                assert!(comment.starts_with(source), "{line}");
            };
            let arg = [format!("--{name}={value}")];
            assert_shown(print(&arg, &[]), &format!("flag -{name}"));
            if flag.has_variable() {
                let variable = [(flag.env(), value.clone())];
                assert_shown(print(&[], &variable), &flag.env());
            }
            for key in [name.to_owned(), name.replace('-', "_")] {
                std::fs::write(path, format!("# first\n{key}: {value:?}\n")).unwrap();
                assert_shown(print(&from_file, &[]), &format!("{path}:2"));
            }
            // The file means what the flag means.
            let of = |args: &[String]| match read(args, &[]) {
                Ok(Request::Serve(config, _)) => config,
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(of(&arg), of(&from_file), "{name}");
        }
    }

    #[test]
    fn defaults_are_told_as_made_of_what_they_are_made_of() {
        let args = ["--name=m1".to_owned(), "-addr=127.0.0.1:9".to_owned()];
        let printed = print(&args, &[]).unwrap();
        for (name, wanted) in [
            ("data-dir", "data-dir: \"m1.etcd\" # default, made of name"),
            (
                "listen-client-urls",
                "listen-client-urls: \"http://127.0.0.1:9\" # addr, of etcd 0.2",
            ),
            ("snapshot-count", "snapshot-count: 10000 # default"),
        ] {
            let line = line_of(&printed, name).unwrap();
            let line: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(line.join(" "), wanted);
        }
        assert!(line_of(&printed, "version").is_none());
        let refused = print(&["--heartbeat-interval=0".to_owned()], &[]);
        assert!(refused.is_err());
    }
}
