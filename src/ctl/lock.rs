//! `lock`: holds a lock until it is interrupted, or while another program runs.

use super::client::{Client, Repeat};
use super::command_line::Word;
use super::commands::{Action, Command, Verb};
use super::context::Context;
use super::failure::Failure;
use super::flags::Flag;
use super::get::GetOutput;
use super::session::{Interrupts, Session, call};
use super::watch::start_error;
use bytes::Bytes;
use detcd_rt as rt;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::v3lockpb::lock_client::LockClient;
use detcd_wire::v3lockpb::{LockRequest, LockResponse};
use pb::kv_client::KvClient;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command as Process, ExitStatus};

pub const COMMAND: Command = Command {
    name: "lock",
    usage: "lock <lockname> [exec-command arg1 arg2 ...]",
    about: "Acquires a named lock",
    long: "Holds it until interrupted, or while the program runs, which finds it in its variables \
           ETCD_LOCK_KEY and ETCD_LOCK_REV.",
    flags: &[Flag {
        default: "10",
        ..Flag::number(
            "ttl",
            "seconds that the lock outlives a client that is gone",
        )
    }],
    action: Action::Run(Verb::Lock),
};

const CANCELED: &str = "context canceled";
/// What a shell says of a program that a signal has ended.
const BY_SIGNAL: u8 = 255;

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let args = context.args.clone();
    let Some((name, program)) = args.split_first() else {
        let why = "lock takes a lock name argument and an optional command to execute";
        return Err(Failure::args(why));
    };
    context.style()?;
    let ttl = context.flags.number("ttl");
    let mut interrupts = Interrupts::listen()?;
    let mut session = Session::open(context, ttl).await?;
    let request = LockRequest {
        name: name.clone().into(),
        lease: session.lease,
    };
    let held = session.hold("session expired", async |client| {
        let lock = call(client, async |service| {
            LockClient::new(service).lock(request.clone()).await
        });
        let lock = tokio::select! {
            biased;
            lock = lock => lock?,
            () = interrupts.recv() => return Err(Failure::error(CANCELED)),
        };
        if !program.is_empty() {
            return execute(program, &lock).await;
        }
        let response = read(client, lock.key).await?;
        if response.kvs.is_empty() {
            return Err(Failure::error("lock lost on init"));
        }
        context.show(&GetOutput {
            response,
            values_only: false,
        })?;
        interrupts.recv().await;
        Ok(())
    });
    let held = held.await;
    session.close().await;
    held
}

/// The key that holds the turn.
pub async fn read(client: &mut Client, key: Bytes) -> Result<pb::RangeResponse, Failure> {
    let request = pb::RangeRequest {
        key,
        ..Default::default()
    };
    let read = client.call(Repeat::Read, async |service| {
        KvClient::new(service).range(request.clone()).await
    });
    read.await
}

async fn execute(program: &[Word], lock: &LockResponse) -> Result<(), Failure> {
    let mut process = Process::new(OsStr::from_bytes(&program[0]));
    let revision = lock.header.map_or(0, |header| header.revision);
    process
        .args(program[1..].iter().map(|arg| OsStr::from_bytes(arg)))
        .env("ETCD_LOCK_KEY", OsStr::from_bytes(&lock.key))
        .env("ETCD_LOCK_REV", revision.to_string());
    let name = String::from_utf8_lossy(&program[0]).into_owned();
    match rt::spawn_blocking(move || process.status()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(ended(status)),
        Ok(Err(error)) => Err(Failure::error(start_error(&name, &error))),
        Err(error) => Err(Failure::error(error.to_string())),
    }
}

/// How a program ended, in Go's words, and with its own code.
fn ended(status: ExitStatus) -> Failure {
    match status.code() {
        Some(code) => {
            let own = u8::try_from(code).unwrap_or(BY_SIGNAL);
            Failure::new(own, format!("exit status {code}"))
        }
        None => {
            let signal = match status.signal() {
                Some(1) => "hangup".to_owned(),
                Some(2) => "interrupt".to_owned(),
                Some(6) => "aborted".to_owned(),
                Some(9) => "killed".to_owned(),
                Some(11) => "segmentation fault".to_owned(),
                Some(15) => "terminated".to_owned(),
                other => format!("signal {}", other.unwrap_or_default()),
            };
            Failure::new(BY_SIGNAL, format!("signal: {signal}"))
        }
    }
}
