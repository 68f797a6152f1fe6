//! `watch`: prints changes as they happen, or runs a command for each.

use super::client::{ANSWER_BYTES_MAX, Client, is_unavailable};
use super::command_line::{Word, split_words};
use super::commands::{Action, Command, Verb};
use super::context::Context;
use super::failure::{Failure, code};
use super::flags::{self, Flag, Values};
use super::go;
use super::keys::prefix_range;
use super::output::json::Json;
use super::output::messages::{header_fields, header_json, kv_fields, kv_json, kv_simple};
use super::output::{Show, Style, line};
use bytes::Bytes;
use detcd_rt as rt;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::watch_client::WatchClient;
use detcd_wire::mvccpb;
use pb::watch_request::RequestUnion;
use prost::Message as _;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command as Process;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

pub const COMMAND: Command = Command {
    name: "watch",
    usage: "watch [options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
    about: "Prints changes of keys as they happen",
    long: "The key and the end of the range may also come from the variables ETCDCTL_WATCH_KEY and\n\
           ETCDCTL_WATCH_RANGE_END. A command after -- runs for every change, with the variables\n\
           ETCD_WATCH_REVISION, ETCD_WATCH_KEY, ETCD_WATCH_EVENT_TYPE and ETCD_WATCH_VALUE.\n\
           \n\
           Interactively, each line of the standard input is a watch with its own options, or\n\
           `progress`, which asks for a notification of progress.",
    flags: &FLAGS,
    action: Action::Run(Verb::Watch),
};

const FLAGS: [Flag; 5] = [
    Flag::switch("interactive", "read watches from the standard input").short('i'),
    Flag::switch("prefix", "every key that starts with the given one"),
    Flag::switch(
        "prev-kv",
        "also print keys and values from before the change",
    ),
    Flag::switch(
        "progress-notify",
        "print now and then how far the watch has come",
    ),
    Flag::number("rev", "start with the changes of this revision"),
];

/// How long a broken stream waits before it is opened again.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    context.style()?;
    if context.flags.switch("interactive") {
        return interactive(context).await;
    }
    let after = context.typed.iter().position(|arg| arg == b"--");
    let command = after.map(|at| context.typed[at + 1..].to_vec());
    let args = Watch::split(context, &context.args, command)?;
    let watch = Watch::new(&context.flags, args).map_err(Failure::args)?;
    let client = Client::new(context)?;
    let (responses, mut received) = mpsc::channel(1);
    let (_requests, asked) = mpsc::channel(1);
    let follower = rt::spawn(watch.clone().follow(client, responses, asked));
    while let Some(response) = received.recv().await {
        print(context, &watch, response?).await?;
    }
    follower.abort();
    Err(Failure::new(
        code::INTERRUPTED,
        "watch is canceled by the server",
    ))
}

/// Watches from the standard input, all at once, until it ends.
async fn interactive(context: &mut Context) -> Result<(), Failure> {
    let (lines, mut read) = mpsc::channel(1);
    let mut input = std::mem::replace(&mut context.terminal.input, Box::new(std::io::empty()));
    // A thread of its own: nothing waits for it when the command ends.
    rt::spawn_io("stdin", async move {
        loop {
            let mut line = String::new();
            let ended = !matches!(input.read_line(&mut line), Ok(1..));
            if lines.send((!ended).then_some(line)).await.is_err() || ended {
                return;
            }
        }
    });
    let (responses, mut received) = mpsc::channel::<(Watch, Result<_, Failure>)>(16);
    let mut asking: Vec<mpsc::Sender<()>> = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some((watch, response)) = received.recv() => print(context, &watch, response?).await?,
            line = read.recv() => {
                let Some(line) = line.flatten() else {
                    let why = "error reading watch request line: EOF";
                    return Err(Failure::new(code::INVALID_INPUT, why));
                };
                let words = split_words(&line);
                match words.first().map(Vec::as_slice) {
                    Some(b"watch") if words.len() == 1 => {
                        let line = "Invalid command watch (command type or key is not provided)";
                        context.terminal.complain(line)?;
                    }
                    Some(b"watch") => {
                        if let Some(watch) = from_line(context, &words[1..])? {
                            let client = Client::new(context)?;
                            asking.push(open(watch, client, responses.clone()));
                        }
                    }
                    Some(b"progress") => {
                        for requests in &asking {
                            // A watch that has ended, or was just asked, needs no request.
                            let _ = requests.try_send(());
                        }
                    }
                    Some(word) => {
                        let word = String::from_utf8_lossy(word);
                        let line = format!("Invalid command {word} (only support watch)");
                        context.terminal.complain(&line)?;
                    }
                    None => {
                        let line = "Invalid command:  (watch and progress supported)";
                        context.terminal.complain(line)?;
                    }
                }
            }
        }
    }
}

/// A line of the interactive mode: nothing if it asks for no watch, which is told. Flags that there
/// are not, and a separator that makes no sense, end the command, as in etcdctl.
fn from_line(context: &mut Context, words: &[Word]) -> Result<Option<Watch>, Failure> {
    let (values, args) = flags::parse(words, &FLAGS).map_err(Failure::args)?;
    let after = words.iter().position(|word| word == b"--");
    let command = after.map(|at| words[at + 1..].to_vec());
    let args = Watch::split(context, &args, command)?;
    match Watch::new(&values, args) {
        Ok(watch) => Ok(Some(watch)),
        Err(why) => {
            let line = String::from_utf8_lossy(&words.join(&b' ')).into_owned();
            let line = format!("Invalid command watch {line} ({why})");
            context.terminal.complain(&line)?;
            Ok(None)
        }
    }
}

/// Starts a watch whose responses go to a common channel; gives what asks it for progress.
fn open(
    watch: Watch,
    client: Client,
    responses: mpsc::Sender<(Watch, Result<pb::WatchResponse, Failure>)>,
) -> mpsc::Sender<()> {
    let (requests, asked) = mpsc::channel(1);
    let (own, mut received) = mpsc::channel(1);
    rt::spawn(watch.clone().follow(client, own, asked));
    rt::spawn(async move {
        while let Some(response) = received.recv().await {
            if responses.send((watch.clone(), response)).await.is_err() {
                return;
            }
        }
    });
    requests
}

/// One watch: what it is about, and what runs for each change.
#[derive(Clone, Debug)]
struct Watch {
    create: pb::WatchCreateRequest,
    command: Vec<Word>,
}

/// The arguments of a watch: key and end of the range, if they are given, and the command.
struct Args {
    keys: Vec<Word>,
    command: Vec<Word>,
}

impl Watch {
    /// `args` are all arguments, those of the command among them.
    fn split(
        context: &Context,
        args: &[Word],
        command: Option<Vec<Word>>,
    ) -> Result<Args, Failure> {
        let bad = |why: &str| Failure::args(format!("bad number of arguments ({why})"));
        if command.as_ref().is_some_and(Vec::is_empty) {
            return Err(bad("found separator --, but no commands"));
        }
        let command = command.unwrap_or_default();
        let mut keys = args[..args.len() - command.len()].to_vec();
        if let Some(key) = context
            .variable("ETCDCTL_WATCH_KEY")
            .filter(|key| !key.is_empty())
        {
            if !keys.is_empty() {
                return Err(bad("found conflicting environment key"));
            }
            keys.push(key.into());
            keys.extend(context.variable("ETCDCTL_WATCH_RANGE_END").map(Word::from));
        }
        Ok(Args { keys, command })
    }

    fn new(flags: &Values, args: Args) -> Result<Watch, &'static str> {
        let Args { keys, command } = args;
        let key = keys.first().ok_or("bad number of arguments")?;
        let key = Bytes::from(key.clone());
        let end = keys.get(1).filter(|end| !end.is_empty());
        let (key, range_end) = match (end, flags.switch("prefix")) {
            (Some(_), true) => return Err("`range_end` and `--prefix` are mutually exclusive"),
            (Some(end), false) => (key, Bytes::from(end.clone())),
            (None, true) => prefix_range(key),
            (None, false) => (key, Bytes::new()),
        };
        let create = pb::WatchCreateRequest {
            key,
            range_end,
            start_revision: flags.number("rev"),
            progress_notify: flags.switch("progress-notify"),
            prev_kv: flags.switch("prev-kv"),
            ..Default::default()
        };
        Ok(Watch { create, command })
    }

    /// Sends on what the server says, over as many streams as it takes: a watch that is opened
    /// again goes on where it was. Ends when the server cancels it.
    async fn follow(
        mut self,
        mut client: Client,
        responses: mpsc::Sender<Result<pb::WatchResponse, Failure>>,
        mut asked: mpsc::Receiver<()>,
    ) {
        loop {
            let mut stream = match self.open(&mut client).await {
                Ok(stream) => stream,
                Err(Reopen::Give(failure)) => {
                    // Nobody listens if the command has ended meanwhile.
                    let _ = responses.send(Err(failure)).await;
                    return;
                }
                Err(Reopen::Again) => {
                    client.leave();
                    rt::sleep(REOPEN_PAUSE).await;
                    continue;
                }
            };
            loop {
                let response = tokio::select! {
                    biased;
                    response = stream.answers.message() => response,
                    Some(()) = asked.recv() => {
                        stream.request(RequestUnion::ProgressRequest(pb::WatchProgressRequest {}));
                        continue;
                    }
                };
                let Ok(Some(response)) = response else {
                    client.leave();
                    break;
                };
                self.advance(&response);
                let (created, canceled) = (response.created, response.canceled);
                if (!created || canceled) && responses.send(Ok(response)).await.is_err() {
                    return;
                }
                if canceled {
                    return;
                }
            }
        }
    }

    async fn open(&self, client: &mut Client) -> Result<Stream, Reopen> {
        let service = client.service().await.map_err(Reopen::Give)?;
        // Room for the creation and a request for progress.
        let (requests, stream) = mpsc::channel(2);
        let mut service = WatchClient::new(service).max_decoding_message_size(ANSWER_BYTES_MAX);
        let create = RequestUnion::CreateRequest(self.create.clone());
        requests
            .try_send(pb::WatchRequest {
                request_union: Some(create),
            })
            .expect("the channel is empty");
        match service.watch(ReceiverStream::new(stream)).await {
            Ok(answers) => Ok(Stream {
                answers: answers.into_inner(),
                requests,
            }),
            Err(status) if again(&status) => Err(Reopen::Again),
            Err(status) => Err(Reopen::Give(Failure::error(super::failure::status_text(
                &status,
            )))),
        }
    }

    /// Remembers where a new stream would have to go on.
    fn advance(&mut self, response: &pb::WatchResponse) {
        let revision = response.header.unwrap_or_default().revision;
        let last = response.events.last().and_then(|event| event.kv.as_ref());
        if let Some(kv) = last {
            self.create.start_revision = kv.mod_revision + 1;
        } else if response.created && self.create.start_revision == 0 {
            self.create.start_revision = revision + 1;
        } else if is_progress(response) {
            self.create.start_revision = self.create.start_revision.max(revision + 1);
        }
    }
}

struct Stream {
    answers: Streaming<pb::WatchResponse>,
    requests: mpsc::Sender<pb::WatchRequest>,
}

impl Stream {
    fn request(&self, union: RequestUnion) {
        // If the last request has not been taken yet, one more adds nothing.
        let _ = self.requests.try_send(pb::WatchRequest {
            request_union: Some(union),
        });
    }
}

/// Why a stream could not be opened.
enum Reopen {
    Again,
    Give(Failure),
}

fn again(status: &Status) -> bool {
    is_unavailable(status) || status.code() == tonic::Code::Unknown
}

fn is_progress(response: &pb::WatchResponse) -> bool {
    response.events.is_empty()
        && !response.canceled
        && !response.created
        && response.compact_revision == 0
        && response.header.unwrap_or_default().revision != 0
}

async fn print(
    context: &mut Context,
    watch: &Watch,
    response: pb::WatchResponse,
) -> Result<(), Failure> {
    if response.canceled {
        let why = cancel_reason(&response);
        context
            .terminal
            .complain(&format!("watch was canceled ({why})"))?;
    }
    if is_progress(&response) {
        let revision = response.header.unwrap_or_default().revision;
        context
            .terminal
            .say(&format!("progress notify: {revision}"))?;
    }
    let answer = WatchOutput(response);
    context.show(&answer)?;
    if !watch.command.is_empty() {
        let revision = answer.0.header.unwrap_or_default().revision;
        for event in answer.0.events {
            execute(context, &watch.command, revision, event).await?;
        }
    }
    Ok(())
}

fn cancel_reason(response: &pb::WatchResponse) -> &str {
    if response.compact_revision != 0 {
        "etcdserver: mvcc: required revision has been compacted"
    } else if response.cancel_reason.is_empty() {
        "etcdserver: mvcc: required revision is a future revision"
    } else {
        &response.cancel_reason
    }
}

/// Runs `command` for a change, and waits for it.
async fn execute(
    context: &mut Context,
    command: &[Word],
    revision: i64,
    event: mvccpb::Event,
) -> Result<(), Failure> {
    let kind = event.r#type().as_str_name();
    let kv = event.kv.unwrap_or_default();
    let program = String::from_utf8_lossy(&command[0]);
    let mut process = Process::new(OsStr::from_bytes(&command[0]));
    process
        .args(command[1..].iter().map(|arg| OsStr::from_bytes(arg)))
        .env("ETCD_WATCH_REVISION", revision.to_string())
        .env("ETCD_WATCH_EVENT_TYPE", go::quote(kind.as_bytes()))
        .env("ETCD_WATCH_KEY", go::quote(&kv.key))
        .env("ETCD_WATCH_VALUE", go::quote(&kv.value));
    let ended = rt::spawn_blocking(move || process.status()).await;
    let why = match ended {
        Ok(Ok(status)) if status.success() => return Ok(()),
        Ok(Ok(status)) => match status.code() {
            Some(code) => format!("exit status {code}"),
            None => status.to_string(),
        },
        Ok(Err(error)) => start_error(&program, &error),
        Err(error) => error.to_string(),
    };
    let words: Vec<_> = command.iter().map(|word| go::quote(word)).collect();
    context
        .terminal
        .complain(&format!("command [{}] error ({why})", words.join(" ")))?;
    Err(Failure::silent(code::ERROR))
}

/// Why a program did not start, in Go's words.
pub fn start_error(program: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound if program.contains('/') => {
            format!("fork/exec {program}: no such file or directory")
        }
        std::io::ErrorKind::NotFound => {
            format!(
                "exec: {}: executable file not found in $PATH",
                go::quote(program.as_bytes())
            )
        }
        _ => format!("fork/exec {program}: {error}"),
    }
}

struct WatchOutput(pb::WatchResponse);

impl Show for WatchOutput {
    fn simple(&self, style: Style, out: &mut Vec<u8>) {
        for event in &self.0.events {
            line!(out, "{}", event.r#type().as_str_name());
            if let Some(kv) = &event.prev_kv {
                kv_simple(style, kv, out);
            }
            kv_simple(style, &event.kv.clone().unwrap_or_default(), out);
        }
    }

    fn fields(&self, out: &mut Vec<u8>) {
        header_fields(&self.0.header, out);
        for event in &self.0.events {
            line!(out, "\"Type\" : {}", event.r#type().as_str_name());
            if let Some(kv) = &event.prev_kv {
                kv_fields("Prev", kv, out);
            }
            kv_fields("", &event.kv.clone().unwrap_or_default(), out);
        }
    }

    fn json(&self, _: Style) -> Json {
        let events = Json::list(&self.0.events, |event| {
            Json::object()
                .with_some("type", i64::from(event.r#type))
                .with_some("kv", event.kv.as_ref().map(kv_json))
                .with_some("prev_kv", event.prev_kv.as_ref().map(kv_json))
        });
        Json::object()
            .with("Header", header_json(&self.0.header.unwrap_or_default()))
            .with("Events", events)
            .with("CompactRevision", self.0.compact_revision)
            .with("Canceled", self.0.canceled)
            .with("Created", self.0.created)
    }

    /// Without the watch's id and the reason of a cancellation, as etcdctl writes it.
    fn protobuf(&self) -> Option<Vec<u8>> {
        let response = pb::WatchResponse {
            watch_id: 0,
            cancel_reason: String::new(),
            fragment: false,
            ..self.0.clone()
        };
        Some(response.encode_to_vec())
    }
}
