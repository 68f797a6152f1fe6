//! detcdctl's v2 commands beside etcdctl 3.4.23's, speaking to etcd 3.4.23 and to detcd: the same
//! lines to all, each with a server of its own, print the same and end with the same code.

use crate::cluster::{WAIT_MAX, eventually, free_port, http_get};
use crate::tools::{Tool, find};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

const LINES: &str = include_str!("ctl_v2.txt");
const NOWHERE: &str = "http://127.0.0.1:1";
/// The flags that name other endpoints than the variable, which would win.
const ENDPOINT_FLAGS: [&str; 3] = ["--endpoint", "--peers", "-C"];

fn detcdctl() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_detcdctl"))
}

fn detcd() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_detcd"))
}

/// An etcd of one member, which serves v2.
struct Server {
    child: Child,
    client_url: String,
    peer_url: String,
    _data: TempDir,
}

impl Server {
    async fn started(program: &Path) -> Server {
        let data = TempDir::new().expect("a folder");
        let port = free_port();
        let client_url = format!("http://127.0.0.1:{port}");
        let peer_url = format!("http://127.0.0.1:{}", free_port());
        let child = Command::new(program)
            .arg("--name=m1")
            .arg("--enable-v2")
            .arg(format!("--data-dir={}", data.path().display()))
            .arg(format!("--listen-client-urls={client_url}"))
            .arg(format!("--advertise-client-urls={client_url}"))
            .arg(format!("--listen-peer-urls={peer_url}"))
            .arg(format!("--initial-advertise-peer-urls={peer_url}"))
            .arg(format!("--initial-cluster=m1={peer_url}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let server = Server {
            child,
            client_url,
            peer_url,
            _data: data,
        };
        // A member is healthy before it has published where clients reach it.
        eventually("client URLs of the member", || async {
            http_get(port, "/v2/machines")
                .await
                .filter(|(_, urls)| *urls == server.client_url)
        })
        .await;
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    out: String,
    err: String,
    code: Option<i32>,
}

/// A line of the file: its section, its words and its input.
#[derive(Debug)]
struct Line<'a> {
    section: &'a str,
    text: &'a str,
    words: Vec<String>,
    input: String,
}

fn lines(sections: &[&str]) -> Vec<Line<'static>> {
    let mut section = "";
    let mut found = Vec::new();
    for text in LINES.lines() {
        if let Some(name) = text.strip_prefix("## ") {
            section = name.split([':', ' ']).next().expect("a word");
        } else if !text.is_empty() && !text.starts_with('#') && sections.contains(&section) {
            let (command, input) = text.split_once(" << ").unwrap_or((text, ""));
            found.push(Line {
                section,
                text,
                words: if command == "-" {
                    Vec::new()
                } else {
                    split(command)
                },
                input: split(input).concat(),
            });
        }
    }
    found
}

/// Words apart by spaces; one in double quotes is JSON's string.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if rest.starts_with('"') {
            let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            words.push(strings.next().expect("a string").expect("a string"));
            let end = strings.byte_offset();
            rest = rest[end..].trim_start();
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            rest = rest[end..].trim_start();
        }
    }
    words
}

fn command(program: &Path, server: &Server, words: &[String]) -> Command {
    let names_endpoint = words.iter().any(|word| ENDPOINT_FLAGS.contains(&&word[..]));
    let endpoints = match names_endpoint {
        true => "",
        false => &server.client_url,
    };
    let mut command = Command::new(program);
    command
        .env("ETCDCTL_API", "2")
        .env("ETCDCTL_ENDPOINTS", endpoints)
        .args(words.iter().map(|word| {
            word.replace("URL", &server.client_url)
                .replace("PEER", &server.peer_url)
                .replace("NOWHERE", NOWHERE)
        }))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

async fn run(program: &Path, server: &Server, line: &Line<'_>) -> Seen {
    let mut command = tokio::process::Command::from(command(program, server, &line.words));
    let mut child = command
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A program that needs no input may have ended.
    let _ = stdin.write_all(line.input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(WAIT_MAX, child.wait_with_output())
        .await
        .unwrap_or_else(|_| panic!("{}: no end within {WAIT_MAX:?}", line.text))
        .expect("our own child");
    Seen {
        out: normal(&output.stdout, server),
        err: normal(&output.stderr, server),
        code: output.status.code(),
    }
}

/// Without what differs from server to server and from hour to hour.
fn normal(bytes: &[u8], server: &Server) -> String {
    let text = String::from_utf8_lossy(bytes)
        .replace(&server.client_url, "URL")
        .replace(&server.peer_url, "PEER")
        .replace("detcdctl", "etcdctl");
    let lines = text.lines().map(|line| {
        let line = match line.strip_prefix("TTL: ") {
            Some(ttl) if ttl != "0" => "TTL: N".to_owned(),
            _ => line.to_owned(),
        };
        let ours = env!("CARGO_PKG_VERSION");
        let line = line.replace(ours, "V").replace("3.4.23", "V");
        let line = masked_field(&masked_ids(&line), "\"expiration\":");
        masked_field(&line, "\"ttl\":")
    });
    // What a terminal would not say: there is none.
    lines
        .filter(|line| !line.starts_with("stty: "))
        .map(|line| line + "\n")
        .collect()
}

/// Words of 14 to 16 hexadecimal digits are members.
fn masked_ids(line: &str) -> String {
    let is_id = |word: &str| {
        (14..=16).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let mut masked = String::new();
    let mut word = String::new();
    for character in line.chars().chain(['\n']) {
        if character.is_alphanumeric() {
            word.push(character);
            continue;
        }
        masked.push_str(if is_id(&word) { "ID" } else { &word });
        word.clear();
        masked.push(character);
    }
    masked.pop();
    masked
}

/// JSON without the values of a field.
fn masked_field(line: &str, name: &str) -> String {
    let mut parts = line.split(name);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked.push_str(name);
        masked.push_str(&part[part.find([',', '}']).unwrap_or(0)..]);
    }
    masked
}

/// What a program says to each line, with `server`, which ends then.
async fn outcomes(program: &Path, server: &Path, sections: &[&str]) -> Vec<Seen> {
    let server = Server::started(server).await;
    let mut seen = Vec::new();
    for line in lines(sections) {
        seen.push(run(program, &server, &line).await);
    }
    seen
}

/// A program, and the server that it speaks to.
type Pair<'a> = (&'a Path, &'a Path);

/// All say of each line what the first does.
async fn all_say_alike(sections: &[&str], first: Pair<'_>, others: &[Pair<'_>]) {
    let expected = outcomes(first.0, first.1, sections);
    let others = others.iter().map(async |(program, server)| {
        let seen = outcomes(program, server, sections).await;
        (
            format!("{} of {}", program.display(), server.display()),
            seen,
        )
    });
    let (expected, others) = tokio::join!(expected, futures::future::join_all(others));
    let lines = lines(sections);
    assert_eq!(expected.len(), lines.len());
    let mut differences = 0;
    for (who, seen) in &others {
        for ((line, expected), seen) in lines.iter().zip(&expected).zip(seen) {
            if expected != seen {
                differences += 1;
                let (section, text) = (line.section, line.text);
                eprintln!("{section}: {text}\n{who}: {seen:#?}\nnot {expected:#?}");
            }
        }
    }
    assert_eq!(differences, 0);
}

#[tokio::test]
async fn v2_commands_about_keys_say_what_etcdctl_says() {
    let test = "v2_commands_about_keys_say_what_etcdctl_says";
    let (Some(etcdctl), Some(etcd)) = (find(Tool::Etcdctl, test), find(Tool::EtcdV2, test)) else {
        return;
    };
    let sections = ["keys", "directories", "watches"];
    let (ours, detcd) = (detcdctl(), detcd());
    let others = [
        (ours, etcd.as_path()),
        (ours, detcd),
        (etcdctl.as_path(), detcd),
    ];
    all_say_alike(&sections, (&etcdctl, &etcd), &others).await;
}

#[tokio::test]
async fn v2_commands_about_members_say_what_etcdctl_says() {
    let test = "v2_commands_about_members_say_what_etcdctl_says";
    let (Some(etcdctl), Some(etcd)) = (find(Tool::Etcdctl, test), find(Tool::EtcdV2, test)) else {
        return;
    };
    let sections = ["members", "sent", "endpoints"];
    let (ours, detcd) = (detcdctl(), detcd());
    let others = [
        (ours, etcd.as_path()),
        (ours, detcd),
        (etcdctl.as_path(), detcd),
    ];
    all_say_alike(&sections, (&etcdctl, &etcd), &others).await;
}

#[tokio::test]
async fn v2_commands_about_users_and_help_say_what_etcdctl_says() {
    let test = "v2_commands_about_users_and_help_say_what_etcdctl_says";
    let (Some(etcdctl), Some(etcd)) = (find(Tool::Etcdctl, test), find(Tool::EtcdV2, test)) else {
        return;
    };
    let (ours, detcd) = (detcdctl(), detcd());
    let others = [
        (ours, etcd.as_path()),
        (ours, detcd),
        (etcdctl.as_path(), detcd),
    ];
    all_say_alike(&["help", "auth"], (&etcdctl, &etcd), &others).await;
}

/// Starts a command that ends by CTRL+C, waits for so many lines, ends it, and gives them.
async fn until_interrupted(
    program: &Path,
    server: &Server,
    words: &str,
    count: usize,
) -> (String, Option<i32>) {
    let mut command = tokio::process::Command::from(command(program, server, &split(words)));
    let mut child = command
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut seen = String::new();
    for _ in 0..count {
        let next = tokio::time::timeout(WAIT_MAX, lines.next_line()).await;
        let line = next.unwrap_or_else(|_| panic!("{words}: only {seen:?} within {WAIT_MAX:?}"));
        seen.push_str(&line.expect("a pipe").expect("another line"));
        seen.push('\n');
    }
    let id = child.id().expect("a process that runs");
    let id = Pid::from_raw(i32::try_from(id).expect("a process id")).expect("not zero");
    kill_process(id, Signal::INT).expect("a signal to our own child");
    let ended = tokio::time::timeout(WAIT_MAX, child.wait()).await;
    let status = ended.expect("CTRL+C ends it").expect("our own child");
    (seen, status.code())
}

#[tokio::test]
async fn detcdctl_watches_v2_keys_until_interrupted_as_etcdctl_does() {
    let test = "detcdctl_watches_v2_keys_until_interrupted_as_etcdctl_does";
    let (Some(etcdctl), Some(etcd)) = (find(Tool::Etcdctl, test), find(Tool::EtcdV2, test)) else {
        return;
    };
    let ours = Path::new(env!("CARGO_BIN_EXE_detcdctl"));
    let server = Server::started(&etcd).await;
    for words in [
        "set w/a 1",
        "mkdir w/dir",
        "set w/b 2",
        "update w/a 3",
        "rm w/b",
        "-o json rm -r w/dir",
    ] {
        let status = command(ours, &server, &split(words)).status();
        assert!(status.expect("the program starts").success(), "{words}");
    }
    let shows =
        r#""echo $ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE $ETCD_WATCH_MODIFIED_INDEX""#;
    for (words, count) in [
        ("watch w/a -f --after-index 3", 2),
        ("watch w --forever -r --after-index 3", 8),
        ("-o json watch w -r -f --after-index 3", 8),
        ("-o extended watch / -r -f --after-index 7", 7),
        (
            &format!("exec-watch --after-index=7 -r w -- sh -c {shows}")[..],
            1,
        ),
    ] {
        let theirs = until_interrupted(&etcdctl, &server, words, count).await;
        let ours = until_interrupted(ours, &server, words, count).await;
        assert_eq!(ours, theirs, "{words}");
        assert_eq!(ours.1, Some(0), "{words}");
    }
    // What etcdctl's help promises, and Debian's build of it does not do.
    let words = format!("exec-watch w/a --after-index 5 -- sh -c {shows}");
    let seen = until_interrupted(ours, &server, &words, 1).await;
    assert_eq!(seen.0, "update /w/a 3 7\n");
}
