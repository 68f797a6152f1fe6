//! `exec-watch`: runs a program for whatever happens to a key.

use super::commands::{Action, Command};
use super::context::Context;
use super::error::bad_args;
use super::event::Event;
use super::flags::{self, Flag, HELP};
use super::keys::{Keys, Wait};
use super::watch::{AFTER_INDEX, until_interrupted};
use crate::ctl::command_line::Word;
use crate::ctl::failure::Failure;
use crate::ctl::watch::start_error;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command as Process;

pub const COMMAND: Command = Command {
    name: "exec-watch",
    args: "<key> <command> [args...]",
    about: "watch a key for changes and exec an executable",
    long: "",
    flags: &[
        AFTER_INDEX,
        Flag::switch(
            &["recursive", "r"],
            "watch all values for key and child keys",
        ),
    ],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    until_interrupted(watch(context)).await
}

async fn watch(context: &mut Context) -> Result<(), Failure> {
    let mut keys = Keys::open(context).await?;
    let (key, command) = key_and_command(context)?;
    let after = context.flags.number("after-index");
    let mut wait = Wait::new(key, context.flags.switch("recursive"), after);
    loop {
        let event = keys.next(context, &mut wait).await?;
        if event.node.dir {
            let line = format!("Ignored dir {} change", event.node.key);
            context.terminal.complain(&line)?;
            continue;
        }
        start(&command, &event)?;
    }
}

/// `<key> -- <command> [args...]`; without the `--` the key comes last, as etcdctl has it.
fn key_and_command(context: &mut Context) -> Result<(Word, Vec<Word>), Failure> {
    if let Some(split) = context.typed.iter().position(|word| word == b"--") {
        let (before, command) = context.typed.split_at(split);
        let flags: Vec<&Flag> = COMMAND.flags.iter().chain([&HELP]).collect();
        let parsed = flags::parse(&flags::reorder(before, &flags), &flags);
        if let (Ok((values, args)), true) = (parsed, command.len() > 1)
            && let [key] = &args[..]
        {
            let command = command[1..].to_vec();
            context.flags = values;
            return Ok((key.clone(), command));
        }
    }
    match context.args.split_last() {
        Some((key, command)) if !command.is_empty() => Ok((key.clone(), command.to_vec())),
        _ => Err(bad_args("key and command to exec required")),
    }
}

/// Starts the command for an event, and does not wait for it: events do not wait either.
fn start(command: &[Word], event: &Event) -> Result<(), Failure> {
    let word = |word: &Word| OsStr::from_bytes(word).to_owned();
    let mut process = Process::new(word(&command[0]));
    process
        .args(command[1..].iter().map(word))
        .env("ETCD_WATCH_ACTION", &event.action)
        .env(
            "ETCD_WATCH_MODIFIED_INDEX",
            event.node.modified_index.to_string(),
        )
        .env("ETCD_WATCH_KEY", &event.node.key)
        .env("ETCD_WATCH_VALUE", &event.node.value);
    match process.spawn() {
        Ok(mut child) => {
            // Its end is waited for, so that it leaves no zombie.
            drop(detcd_rt::spawn_blocking(move || child.wait()));
            Ok(())
        }
        Err(error) => {
            let program = String::from_utf8_lossy(&command[0]);
            Err(Failure::error(start_error(&program, &error)))
        }
    }
}
