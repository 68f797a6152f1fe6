//! Runs detcdctl against a server that expects the recorded requests and gives the recorded
//! answers.

use crate::call::{Answers, Backend, Call, Step, serve};
use crate::case::{Case, Seen};
use bytes::Bytes;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio_stream::StreamExt as _;
use tonic::{Code, Response, Status, Streaming};

/// How long a command may take; generous, because the machine is shared.
pub const WAIT_MAX: Duration = Duration::from_secs(20);
/// Stands for the server's port in what is compared: as wide as a port.
const PORT: &str = "00000";

/// What differs from the recording.
pub fn replay(case: &Case) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let player = Arc::new(Player::new(case.calls.clone()));
        let address = serve(player.clone()).await;
        let program = env!("CARGO_BIN_EXE_detcdctl");
        let expected = Some(&case.seen).filter(|seen| seen.code.is_none());
        let seen = run(program.as_ref(), case, address, WAIT_MAX, |seen| {
            expected.is_some_and(|expected| seen.out == expected.out && seen.err == expected.err)
        })
        .await;
        let mut differences = player.complaints();
        if seen != case.seen {
            differences.push(format!("recorded:\n{}seen:\n{seen}", case.seen));
        }
        differences
    })
}

/// Runs `program` with the case's command line against the server at `address`. A case to hold is
/// stopped once `enough` has been seen.
pub async fn run(
    program: &std::path::Path,
    case: &Case,
    address: SocketAddr,
    wait_max: Duration,
    enough: impl Fn(&Seen) -> bool,
) -> Seen {
    use std::os::unix::ffi::OsStringExt as _;
    let (variables, words) = case.words();
    let endpoint = format!("127.0.0.1:{}", address.port());
    let mut child = Command::new(program)
        .args(words.into_iter().map(std::ffi::OsString::from_vec))
        .env("ETCDCTL_ENDPOINTS", endpoint)
        .envs(variables)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("a pipe");
    input
        .write_all(&case.input_bytes())
        .await
        .expect("a pipe that is open");
    if case.hold {
        // Kept open until the end: the command would end with its input.
        Box::leak(Box::new(input));
    } else {
        drop(input);
    }
    let mut out = child.stdout.take().expect("a pipe");
    let mut err = child.stderr.take().expect("a pipe");
    let (mut raw_out, mut raw_err) = (Vec::new(), Vec::new());
    let (mut out_open, mut err_open) = (true, true);
    let reading = async {
        while out_open || err_open {
            tokio::select! {
                biased;
                read = out.read_buf(&mut raw_out), if out_open => out_open = read.expect("a pipe") > 0,
                read = err.read_buf(&mut raw_err), if err_open => err_open = read.expect("a pipe") > 0,
            }
            let seen = Seen {
                out: plain(&raw_out, address),
                err: plain(&raw_err, address),
                code: None,
            };
            if enough(&seen) {
                break;
            }
        }
    };
    // A command that is still busy is told by its missing exit code.
    let _ = tokio::time::timeout(wait_max, reading).await;
    let ended = !out_open && !err_open;
    if !ended {
        child.start_kill().expect("our own child");
    }
    let status = child.wait().await.expect("our own child");
    Seen {
        out: plain(&raw_out, address),
        err: plain(&raw_err, address),
        code: status.code().filter(|_| ended),
    }
}

/// What is compared: without the port, without how long it took, and without the log lines of Go's
/// client.
fn plain(bytes: &[u8], address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_string();
    assert_eq!(
        port.len(),
        PORT.len(),
        "the system's ports are as wide as {PORT}"
    );
    let mut plain = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b"{\"level\":\"warn\"") {
            continue;
        }
        let line = replace(
            line,
            format!(":{port}").as_bytes(),
            format!(":{PORT}").as_bytes(),
        );
        plain.extend(without_duration(&line));
    }
    plain
}

fn without_duration(line: &[u8]) -> Vec<u8> {
    for (mark, ends) in [
        ("took = ", "\n"),
        ("\"took\":\"", "\""),
        ("\"Took\" : ", "\n"),
    ] {
        let Some(start) = find(line, mark.as_bytes()) else {
            continue;
        };
        let start = start + mark.len();
        let end = line[start..]
            .iter()
            .position(|byte| ends.as_bytes().contains(byte));
        let end = end.map_or(line.len(), |end| start + end);
        return [&line[..start], b"DURATION", &line[end..]].concat();
    }
    line.to_vec()
}

fn replace(line: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match find(line, from) {
        Some(at) => [
            &line[..at],
            to,
            &replace(&line[at + from.len()..], from, to),
        ]
        .concat(),
        None => line.to_vec(),
    }
}

fn find(line: &[u8], part: &[u8]) -> Option<usize> {
    line.windows(part.len()).position(|window| window == part)
}

/// The server that replays.
struct Player {
    /// The calls that are still to come.
    calls: Mutex<Vec<Call>>,
    wrong: Mutex<Vec<String>>,
}

impl Player {
    fn new(calls: Vec<Call>) -> Player {
        Player {
            calls: Mutex::new(calls),
            wrong: Mutex::new(Vec::new()),
        }
    }

    fn complain(&self, why: String) -> Status {
        self.wrong.lock().expect("no panic").push(why.clone());
        Status::internal(why)
    }

    fn complaints(&self) -> Vec<String> {
        let mut complaints = self.wrong.lock().expect("no panic").clone();
        let missing = self.calls.lock().expect("no panic");
        complaints.extend(missing.iter().map(|call| format!("never sent:\n{call}")));
        complaints
    }

    fn next(&self, path: &str) -> Result<Call, Status> {
        let mut calls = self.calls.lock().expect("no panic");
        match calls.first() {
            Some(call) if call.path == path => Ok(calls.remove(0)),
            Some(call) => Err(self.complain(format!("{path} instead of {}", call.path))),
            None => Err(self.complain(format!("{path}, which was not recorded"))),
        }
    }
}

impl Backend for Player {
    fn answer(
        self: Arc<Self>,
        path: String,
        mut requests: Streaming<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Answers>, Status>> + Send>> {
        Box::pin(async move {
            let call = self.next(&path)?;
            let (answers, received) = tokio::sync::mpsc::channel(1);
            let player = self.clone();
            tokio::spawn(async move {
                for step in call.steps {
                    let answer = match step {
                        Step::Response(bytes) => Ok(bytes),
                        Step::End(code, text) => Err(Status::new(Code::from(code), text)),
                        Step::Request(expected) => match requests.next().await {
                            Some(Ok(request)) if request == expected => continue,
                            other => {
                                let why = format!("{path}: {other:?} instead of {expected:?}");
                                Err(player.complain(why))
                            }
                        },
                    };
                    let ended = answer.is_err();
                    // The client may be gone; what it printed is compared all the same.
                    if answers.send(answer).await.is_err() || ended {
                        return;
                    }
                }
                // A stream stays open as long as the client does; a call of one request ends.
                while let Some(Ok(_)) = requests.next().await {}
            });
            let received = tokio_stream::wrappers::ReceiverStream::new(received);
            Ok(Response::new(Box::pin(received) as Answers))
        })
    }
}
