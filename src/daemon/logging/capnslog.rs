//! The log as etcd before 3.5 wrote it, whose lines walkthroughs show and scripts look for. An event
//! stands in the code once; what it reads like here is one arm of [`lines`].

use super::Entry;
use detcd_core::go;
use detcd_core::membership::admission::REMOVED;
use std::fmt::Write as _;
use tracing::Level;

/// A line without its time.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// `C`, `E`, `W`, `N`, `I` or `D`: notices stand between warnings and information.
    level: char,
    package: &'static str,
    text: String,
}

fn line(level: char, package: &'static str, text: impl Into<String>) -> Line {
    Line {
        level,
        package,
        text: text.into(),
    }
}

/// `DATE TIME L | package: text`, in UTC.
pub(super) fn format(entry: &Entry) -> String {
    // 2019-02-07T07:37:48.260673Z
    let time = entry.time_micros();
    let (date, time) = (&time[..10], &time[11..26]);
    let mut text = String::new();
    for line in lines(entry) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{date} {time} {} | {}: {}",
            line.level, line.package, line.text
        );
    }
    text
}

/// `[etcd] Dec  7 16:03:58.879 INFO      | text`, as etcd 0.2 wrote it.
pub(super) fn format_02(entry: &Entry) -> String {
    let time = entry.time_micros();
    let month = time[5..7].parse::<usize>().unwrap_or(1).clamp(1, 12);
    let month = &"JanFebMarAprMayJunJulAugSepOctNovDec"[month * 3 - 3..month * 3];
    let day = time[8..10].trim_start_matches('0');
    let mut text = String::new();
    for line in lines_02(entry) {
        let level = match line.level {
            'C' => "CRITICAL",
            'E' => "ERROR",
            'W' => "WARNING",
            'D' => "DEBUG",
            _ => "INFO",
        };
        let _ = writeln!(
            text,
            "[etcd] {month} {day:>2} {} {level:<10}| {}",
            &time[11..23],
            line.text
        );
    }
    text
}

/// What an event reads like: the lines that etcd had for it, or one with all that the event says.
fn lines(entry: &Entry) -> Vec<Line> {
    let lines = process_lines(entry);
    let lines = lines.or_else(|| member_lines(entry));
    lines.unwrap_or_else(|| Vec::from([other_line(entry)]))
}

/// What the process says of itself.
fn process_lines(entry: &Entry) -> Option<Vec<Line>> {
    let told = |name: &str| entry.field(name);
    let main = |text: String| line('I', "etcdmain", text);
    Some(match entry.message.as_str() {
        text @ "recognized and used environment variable" => Vec::from([line(
            'I',
            "flags",
            format!(
                "{text} {}={}",
                told("variable_name"),
                told("variable_value")
            ),
        )]),
        text @ "unrecognized environment variable" => Vec::from([line(
            'W',
            "flags",
            format!("{text} {}", told("environment_variable")),
        )]),
        text if text.starts_with("recognized environment variable ")
            || text.ends_with("is no longer supported - ignoring.") =>
        {
            Vec::from([line('W', "flags", text)])
        }
        "failed to verify flags" => Vec::from([line(
            'E',
            "etcdmain",
            format!(
                "error verifying flags, {}. See 'detcd --help'.",
                told("error")
            ),
        )]),
        "failed to serve" => failure_lines(&told("error"), &told("advice")),
        "running detcd" => Vec::from([
            main(format!("detcd Version: {}", told("detcd_version"))),
            main(format!("Git SHA: {}", told("git_sha"))),
            main(format!("Rust Version: {}", told("rust_version"))),
            main(format!("Rust OS/Arch: {}", told("os_arch"))),
            main(format!(
                "setting maximum number of CPUs to {}, total number of available CPUs is {}",
                told("threads"),
                told("cpus")
            )),
        ]),
        "'data-dir' was empty; using default" => Vec::from([line(
            'W',
            "etcdmain",
            format!(
                "no data-dir provided, using default data-dir ./{}",
                told("data_dir")
            ),
        )]),
        text @ ("received signal; shutting down"
        | "received signal while starting; shutting down") => {
            let when = text.strip_prefix("received signal").unwrap_or_default();
            let when = when.replace("; shutting down", "");
            Vec::from([line(
                'N',
                "pkg/osutil",
                format!("received {} signal{when}, shutting down...", told("signal")),
            )])
        }
        text @ ("discovery cluster full, falling back to proxy"
        | "the server is already initialized as proxy before, starting as etcd proxy...") => {
            Vec::from([line('N', "etcdmain", text)])
        }
        text @ "this proxy supports v2 API only!" => {
            Vec::from([line('N', "etcdmain", format!("proxy: {text}"))])
        }
        text @ "endpoints found" => {
            let urls = entry.list("endpoints").join("\" \"");
            Vec::from([line('I', "proxy/httpproxy", format!("{text} [\"{urls}\"]"))])
        }
        _ => return None,
    })
}

/// What ends the process, and what to do about it.
fn failure_lines(error: &str, advice: &str) -> Vec<Line> {
    let level = if advice.is_empty() { 'C' } else { 'E' };
    let errors = error.lines().map(|text| line(level, "etcdmain", text));
    let advice = advice.lines().map(|text| line('I', "etcdmain", text));
    errors.chain(advice).collect()
}

/// What a member says of itself and of others.
fn member_lines(entry: &Entry) -> Option<Vec<Line>> {
    let told = |name: &str| entry.field(name);
    let list = |name: &str| entry.list(name);
    Some(match entry.message.as_str() {
        "configuring peer listeners" => list("listen_peer_urls")
            .iter()
            .map(|url| line('I', "embed", format!("listening for peers on {url}")))
            .collect(),
        "configuring client listeners" => list("listen_client_addresses")
            .iter()
            .map(|at| {
                line(
                    'I',
                    "embed",
                    format!("listening for client requests on {at}"),
                )
            })
            .collect(),
        "starting a detcd server" => server_lines(entry),
        "starting local member" => Vec::from([line(
            'I',
            "etcdserver",
            format!(
                "starting member {} in cluster {}",
                told("local_member_id"),
                told("cluster_id")
            ),
        )]),
        text @ "the server is already initialized as member before, starting as etcd member..." => {
            let restarting = format!(
                "restarting member {} in cluster {}",
                told("local_member_id"),
                told("cluster_id")
            );
            Vec::from([
                line('N', "etcdmain", text),
                line('I', "etcdserver", restarting),
            ])
        }
        "published local member to cluster through raft" => Vec::from([line(
            'I',
            "etcdserver",
            format!(
                "published {} to cluster {}",
                told("local_member_attributes"),
                told("cluster_id")
            ),
        )]),
        text @ "enabled capabilities for version" => Vec::from([line(
            'I',
            "etcdserver/api",
            format!("{text} {}", told("cluster_version")),
        )]),
        text @ "ready to serve client requests" => Vec::from([line('I', "embed", text)]),
        "serving client traffic insecurely; this is strongly discouraged!" => Vec::from([line(
            'N',
            "embed",
            format!(
                "serving insecure client requests on {}, this is strongly discouraged!",
                told("address")
            ),
        )]),
        "connected to peer" => Vec::from([connection_line(&told("to"), "active")]),
        "lost the connection to peer" => Vec::from([connection_line(&told("to"), "inactive")]),
        "prober found high clock drift" => Vec::from([line(
            'W',
            "rafthttp",
            format!(
                "the clock difference against peer {} is too high [{} > {}]",
                told("remote_peer_id"),
                told("clock_drift"),
                told("clock_drift_max")
            ),
        )]),
        text @ "error removing member" => {
            let text = format!("{text} {} ({})", told("member_id"), told("error"));
            Vec::from([line('E', "etcdhttp", text)])
        }
        REMOVED => removal_lines(entry),
        text if entry.target == "detcd::discovery" => {
            let level = if entry.level == Level::INFO { 'N' } else { 'I' };
            Vec::from([line(level, "discovery", text)])
        }
        text @ "the data-dir used by this member must be removed." => {
            Vec::from([line('I', "etcdserver", text)])
        }
        _ => return None,
    })
}

fn server_lines(entry: &Entry) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut say = |text: String| lines.push(line('I', "etcdserver", text));
    let millis = |name: &str| match go::parse_duration(&entry.field(name)) {
        Ok(duration) => format!("{}ms", duration.as_millis()),
        Err(_) => entry.field(name),
    };
    let urls = |name: &str| entry.list(name).join(",");
    say(format!("name = {}", entry.field("name")));
    say(format!("data dir = {}", entry.field("data_dir")));
    say(format!("member dir = {}/member", entry.field("data_dir")));
    say(format!("heartbeat = {}", millis("heartbeat_interval")));
    say(format!("election = {}", millis("election_timeout")));
    say(format!(
        "snapshot count = {}",
        entry.field("snapshot_count")
    ));
    if !entry.field("discovery_url").is_empty() {
        say(format!("discovery URL= {}", entry.field("discovery_url")));
    }
    say(format!(
        "advertise client URLs = {}",
        urls("advertise_client_urls")
    ));
    say(format!(
        "initial advertise peer URLs = {}",
        urls("initial_advertise_peer_urls")
    ));
    say(format!(
        "initial cluster = {}",
        entry.field("initial_cluster")
    ));
    lines
}

fn connection_line(to: &str, state: &str) -> Line {
    let text = format!("the connection with {to} became {state}");
    line('I', "rafthttp", text)
}

/// A member that was removed can reach nobody any more.
fn removal_lines(entry: &Entry) -> Vec<Line> {
    let mut lines: Vec<Line> = entry
        .list("others")
        .iter()
        .map(|peer| {
            let text = format!("failed to dial {peer} on stream MsgApp v2 ({REMOVED})");
            line('E', "rafthttp", text)
        })
        .collect();
    lines.push(line('E', "etcdserver", REMOVED));
    lines
}

fn other_line(entry: &Entry) -> Line {
    let level = match entry.level {
        Level::ERROR => 'E',
        Level::WARN => 'W',
        Level::INFO => 'I',
        Level::DEBUG | Level::TRACE => 'D',
    };
    let mut text = entry.message.clone();
    let fields: Vec<String> = entry
        .fields
        .iter()
        .map(|(name, _)| format!("{}={}", name.replace('_', "-"), entry.field(name)))
        .collect();
    if !fields.is_empty() {
        let _ = write!(text, " ({})", fields.join(", "));
    }
    line(level, package(entry.target), text)
}

/// The package of etcd that does what one of our rooms does.
fn package(target: &str) -> &'static str {
    match target.split("::").next().unwrap_or_default() {
        "detcd_peer" => "rafthttp",
        "detcd_raft" | "openraft" => "raft",
        "detcd_storage" => "wal",
        "detcd_net" => "pkg/transport",
        "detcd" if target.starts_with("detcd::daemon") => "etcdmain",
        "detcd" => "embed",
        _ => "etcdserver",
    }
}

/// As [`lines`], with those that only etcd 0.2 had.
fn lines_02(entry: &Entry) -> Vec<Line> {
    let told = |name: &str| entry.field(name);
    match entry.message.as_str() {
        "now serving peer/client/metrics" => {
            let server = |what: &str, listen: &str, advertised: &str| {
                let text = format!(
                    "{what} server [name {}, listen on {}, advertised url {}]",
                    told("name"),
                    entry.list(listen).join(","),
                    entry.list(advertised).join(",")
                );
                line('I', "", text)
            };
            Vec::from([
                server("etcd", "listen_client_urls", "advertise_client_urls"),
                server("raft", "listen_peer_urls", "initial_advertise_peer_urls"),
            ])
        }
        "known members" => {
            let urls = entry.list("peer_urls").join(",");
            let urls = format!("URLs: / {} ({urls})", told("name"));
            Vec::from([line('I', "", urls)])
        }
        "no other member answers; this one starts the cluster again" => {
            let down = "the entire cluster is down! this peer will restart the cluster.";
            Vec::from([line('W', "", down)])
        }
        "failed to serve" => Vec::from([line('C', "", told("error"))]),
        _ => lines(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry_for_tests;
    use super::*;
    use serde_json::{Value, json};

    fn shown(message: &str, fields: Vec<(&'static str, Value)>) -> Vec<String> {
        let entry = entry_for_tests(Level::INFO, "detcd::daemon", message, fields);
        let text = format(&entry);
        let lines = text.lines().map(|line| {
            let (time, line) = line.split_at(27);
            assert_eq!(time, "2026-11-21 11:34:44.928123 ");
            line.to_owned()
        });
        lines.collect()
    }

    #[test]
    fn a_start_reads_as_etcd_3_3s() {
        assert_eq!(
            shown(
                "running detcd",
                vec![
                    ("detcd_version", "0.1.0".into()),
                    ("git_sha", "abc".into()),
                    ("rust_version", "1.95.0".into()),
                    ("os_arch", "linux/amd64".into()),
                    ("threads", 4.into()),
                    ("cpus", 4.into()),
                ]
            ),
            [
                "I | etcdmain: detcd Version: 0.1.0",
                "I | etcdmain: Git SHA: abc",
                "I | etcdmain: Rust Version: 1.95.0",
                "I | etcdmain: Rust OS/Arch: linux/amd64",
                "I | etcdmain: setting maximum number of CPUs to 4, total number of available CPUs is 4",
            ]
        );
        assert_eq!(
            shown(
                "starting a detcd server",
                vec![
                    ("name", "etcd1".into()),
                    ("data_dir", "etcd1.etcd".into()),
                    ("heartbeat_interval", "100ms".into()),
                    ("election_timeout", "1s".into()),
                    ("snapshot_count", 10_000.into()),
                    (
                        "advertise_client_urls",
                        json!(["http://a:2379", "http://b:2379"])
                    ),
                    ("initial_advertise_peer_urls", json!(["http://a:2380"])),
                    ("initial_cluster", "etcd1=http://a:2380".into()),
                ]
            ),
            [
                "I | etcdserver: name = etcd1",
                "I | etcdserver: data dir = etcd1.etcd",
                "I | etcdserver: member dir = etcd1.etcd/member",
                "I | etcdserver: heartbeat = 100ms",
                "I | etcdserver: election = 1000ms",
                "I | etcdserver: snapshot count = 10000",
                "I | etcdserver: advertise client URLs = http://a:2379,http://b:2379",
                "I | etcdserver: initial advertise peer URLs = http://a:2380",
                "I | etcdserver: initial cluster = etcd1=http://a:2380",
            ]
        );
    }

    #[test]
    fn what_etcd_had_no_line_for_is_told_whole() {
        let fields = vec![("free_bytes", 7.into()), ("why", "a b".into())];
        assert_eq!(
            shown("something is so", fields),
            ["I | etcdmain: something is so (free-bytes=7, why=a b)"]
        );
    }

    #[test]
    fn a_removed_member_says_what_etcd_says() {
        let others = vec![("others", json!(["1", "2"]))];
        let dial = |peer: u64| {
            format!(
                "E | rafthttp: failed to dial {peer} on stream MsgApp v2 (the member has been \
                 permanently removed from the cluster)"
            )
        };
        assert_eq!(
            shown(REMOVED, others),
            [
                dial(1),
                dial(2),
                "E | etcdserver: the member has been permanently removed from the cluster".into(),
            ]
        );
    }

    #[test]
    fn the_log_of_2013_has_its_shape() {
        let fields = vec![
            ("name", "machine1".into()),
            ("listen_client_urls", json!(["0.0.0.0:4001"])),
            ("advertise_client_urls", json!(["http://0.0.0.0:4001"])),
            ("listen_peer_urls", json!(["127.0.0.1:7001"])),
            (
                "initial_advertise_peer_urls",
                json!(["http://127.0.0.1:7001"]),
            ),
        ];
        let message = "now serving peer/client/metrics";
        let entry = entry_for_tests(Level::INFO, "detcd::daemon", message, fields);
        assert_eq!(
            format_02(&entry),
            "[etcd] Nov 21 11:34:44.928 INFO      | etcd server [name machine1, listen on 0.0.0.0:4001, advertised url http://0.0.0.0:4001]\n\
             [etcd] Nov 21 11:34:44.928 INFO      | raft server [name machine1, listen on 127.0.0.1:7001, advertised url http://127.0.0.1:7001]\n"
        );
    }
}
