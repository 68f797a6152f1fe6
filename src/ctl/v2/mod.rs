//! The commands of etcd's v2 API, with what etcdctl 3.4.23 prints when ETCDCTL_API=2: scripts of
//! ten years read it. `tests/against_etcd/ctl_v2.rs` runs both side by side.
//!
//! A command is a file that says its name, flags and help ([`commands::Command`]) and what it asks
//! of a server ([`keys`], [`members`], [`auth_api`]) through the [`client`]. [`route`] says which
//! command lines come here.

mod auth;
mod auth_api;
mod backup;
mod client;
mod cluster_health;
mod commands;
mod context;
mod error;
mod event;
mod exec_watch;
mod flags;
mod get;
mod help;
mod http;
mod keys;
mod ls;
mod member;
mod members;
mod mk;
mod mkdir;
mod rm;
mod rmdir;
mod role;
pub mod route;
mod set;
mod setdir;
pub mod tree;
mod update;
mod updatedir;
mod url;
mod user;
mod watch;

use super::Call;
use super::command_line::Word;
use super::failure::Failure;
use super::version;
use commands::{Action, COMMANDS, Command, GLOBAL, VERSION, named};
use context::Context;
use error::code;
use flags::{Flag, HELP, Values};

/// Carries out a command and gives the exit code.
pub async fn run(call: Call) -> u8 {
    let mut context = Context {
        global: Values::default(),
        flags: Values::default(),
        args: Vec::new(),
        typed: Vec::new(),
        environment: call.environment,
        terminal: call.terminal,
    };
    match dispatch(&mut context, &call.args).await {
        Ok(()) => 0,
        Err(failure) => {
            if !failure.message.is_empty() {
                // If even this cannot be written, the exit code has to say it.
                let _ = context.terminal.complain(&failure.message);
            }
            failure.code
        }
    }
}

async fn dispatch(context: &mut Context, words: &[Word]) -> Result<(), Failure> {
    let flags: Vec<&Flag> = GLOBAL.iter().chain([&HELP, &VERSION]).collect();
    let (values, rest) = match flags::parse(words, &flags) {
        Ok(parsed) => parsed,
        Err(why) => return misuse(context, ". ", &why, &help::program()),
    };
    if let Err(why) = values.check_names(&flags) {
        say(context, &format!("{why}\n{}", help::program()))?;
        return Err(Failure::error(why));
    }
    context.global = values;
    if context.global.switch("help") {
        return say(context, &help::program());
    }
    if context.global.switch("version") {
        let program = super::commands::ROOT.name;
        let version = version::VERSION;
        return context
            .terminal
            .say(&format!("{program} version: {version}\nAPI version: 2"));
    }
    let Some((word, rest)) = rest.split_first() else {
        return say(context, &help::program());
    };
    match named(COMMANDS, word) {
        Some(command) => match command.action {
            Action::Group(_) => group(context, command, rest).await,
            Action::Run(_) => leaf(context, "", command, rest).await,
        },
        None if is_help(word) => help_about(context, rest),
        None => Err(no_help(word)),
    }
}

/// A group of commands, such as `member`: a program of its own.
async fn group(context: &mut Context, group: &Command, words: &[Word]) -> Result<(), Failure> {
    let (values, rest) = match flags::parse(words, &[&HELP]) {
        Ok(parsed) => parsed,
        Err(why) => return misuse(context, ". ", &why, &help::group(group)),
    };
    let Some((word, rest)) = rest.split_first() else {
        return say(context, &help::group(group));
    };
    if values.switch("help") {
        return say(context, &help::group(group));
    }
    match named(group.children(), word) {
        Some(command) => leaf(context, group.name, command, rest).await,
        None if is_help(word) => match rest.first() {
            None => say(context, &help::group_as_program(group)),
            Some(about) => match named(group.children(), about) {
                Some(command) => say(context, &help::command(group.name, command)),
                None => Err(no_help(about)),
            },
        },
        None => Err(no_help(word)),
    }
}

async fn leaf(
    context: &mut Context,
    group: &str,
    command: &Command,
    words: &[Word],
) -> Result<(), Failure> {
    let Action::Run(run) = command.action else {
        panic!("{} is no group", command.name);
    };
    let flags: Vec<&Flag> = command.flags.iter().chain([&HELP]).collect();
    let parsed = flags::parse(&flags::reorder(words, &flags), &flags);
    let parsed = parsed.and_then(|(values, args)| {
        values.check_names(&flags)?;
        Ok((values, args))
    });
    match parsed {
        Ok((values, args)) => {
            (context.flags, context.args) = (values, args);
            context.typed = words.to_vec();
        }
        Err(why) => return misuse(context, ": ", &why, &help::command(group, command)),
    }
    if context.flags.switch("help") {
        return say(context, &help::command(group, command));
    }
    run(context).await
}

/// The word `help`: about everything, or about a command.
fn help_about(context: &mut Context, rest: &[Word]) -> Result<(), Failure> {
    let Some(word) = rest.first() else {
        return say(context, &help::program());
    };
    match named(COMMANDS, word) {
        Some(command) => say(context, &help::command("", command)),
        None if is_help(word) => say(context, help::help()),
        None => Err(no_help(word)),
    }
}

fn is_help(word: &[u8]) -> bool {
    word == b"help" || word == b"h"
}

fn no_help(word: &[u8]) -> Failure {
    let word = String::from_utf8_lossy(word);
    Failure::new(code::NO_HELP, format!("No help topic for '{word}'"))
}

/// A flag that cannot be read: what is wrong, the help, and once more what is wrong.
fn misuse(context: &mut Context, mark: &str, why: &str, help: &str) -> Result<(), Failure> {
    say(context, &format!("Incorrect Usage{mark}{why}\n\n{help}"))?;
    Err(Failure::error(why))
}

fn say(context: &mut Context, text: &str) -> Result<(), Failure> {
    context
        .terminal
        .say(text.strip_suffix('\n').unwrap_or(text))
}
