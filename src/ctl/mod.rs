//! detcdctl: a command line for detcd and for every server of etcd's APIs. What it prints, and
//! where, is what etcdctl 3.5 prints, because scripts read it: `tests/golden/ctl` holds captures of
//! the real one, and the requests that it sent.
//!
//! A command is a file that says its name, flags and help ([`commands::Command`]), sends a request
//! ([`client::Client`]) and says what the answer looks like in each format ([`output::Show`]).
//!
//! The commands of the API before that, v2, are in [`v2`].
//!
//! Where etcdctl panics or hangs we do not: an unknown operator in a transaction's condition and
//! a bad value of a variable are refused, and every short command ends within its timeout.

mod alarm;
mod auth;
mod auth_change;
mod client;
pub(crate) mod command_line;
mod commands;
mod compaction;
mod completion;
pub(crate) mod context;
mod defrag;
mod del;
mod dial;
mod elect;
mod endpoint;
mod environment;
pub(crate) mod failure;
pub(crate) mod flags;
mod get;
pub(crate) mod go;
mod help;
mod keys;
mod lease;
mod lock;
mod member;
mod migrate;
mod move_leader;
pub(crate) mod output;
mod put;
mod role;
mod secure;
mod session;
mod snapshot;
mod srv;
mod txn;
mod user;
mod v2;
mod version;
mod watch;

use commands::{Action, Found};
use context::Context;
pub use context::Terminal;
use failure::{Failure, code};

/// A call of detcdctl: what its `main` is given.
pub struct Call {
    /// Without the program's name.
    pub args: Vec<command_line::Word>,
    pub environment: Vec<(String, String)>,
    pub terminal: Terminal,
}

/// Carries out a command and gives the exit code.
pub async fn run(call: Call) -> u8 {
    match v2::route::is_v2(&call) {
        Ok(true) => v2::run(call).await,
        Ok(false) => run_v3(call).await,
        Err(why) => {
            let mut terminal = call.terminal;
            // If even this cannot be written, the exit code has to say it.
            let _ = terminal.complain(&why);
            code::ERROR
        }
    }
}

async fn run_v3(call: Call) -> u8 {
    let Call {
        args,
        environment,
        terminal,
    } = call;
    let mut context = Context {
        flags: flags::Values::default(),
        args: Vec::new(),
        typed: args,
        environment,
        terminal,
    };
    match dispatch(&mut context).await {
        Ok(()) => 0,
        Err(failure) => {
            if !failure.message.is_empty() {
                // If even this cannot be written, the exit code has to say it.
                if let Some(hint) = &failure.hint {
                    let _ = context.terminal.complain(&format!("Warning: {hint}"));
                }
                let _ = context.terminal.complain(&format!("Error: {failure}"));
            }
            failure.code
        }
    }
}

async fn dispatch(context: &mut Context) -> Result<(), Failure> {
    let found = commands::find(&context.typed);
    if found.path.is_empty() && found.rest.first().is_some_and(|word| word == b"help") {
        let about = commands::find(&found.rest[1..]);
        return context
            .terminal
            .say(help::help(&about).trim_end_matches('\n'));
    }
    let parsed = flags::parse(&found.rest, found.flags());
    let (values, args) = match parsed {
        Ok(parsed) => parsed,
        Err(why) => return misuse(context, &found, &why),
    };
    (context.flags, context.args) = (values, args);
    environment::apply(context)?;
    if context.flags.switch("debug") {
        environment::print(context)?;
    }
    match found.command().action {
        _ if context.flags.switch("help") => print_help(context, &found),
        Action::Run(verb) => {
            srv::find(context).await?;
            commands::run(verb, context).await
        }
        Action::Group(_) if found.path.is_empty() && !context.args.is_empty() => {
            unknown(context, &String::from_utf8_lossy(&context.args[0].clone()))
        }
        Action::Group(_) => print_help(context, &found),
    }
}

fn print_help(context: &mut Context, found: &Found) -> Result<(), Failure> {
    context.terminal.say(&help::help(found))
}

/// A flag that cannot be read: the help, and what is wrong twice over, as etcdctl says it.
fn misuse(context: &mut Context, found: &Found, why: &str) -> Result<(), Failure> {
    print_help(context, found)?;
    context.terminal.complain(&format!("Error: {why}\n"))?;
    Err(Failure::new(code::ERROR, why))
}

fn unknown(context: &mut Context, word: &str) -> Result<(), Failure> {
    let program = commands::ROOT.name;
    let mut why = format!("unknown command \"{word}\" for \"{program}\"");
    let near = commands::suggestions(word);
    if !near.is_empty() {
        why.push_str(&format!(
            "\n\nDid you mean this?\n\t{}\n",
            near.join("\n\t")
        ));
    }
    context
        .terminal
        .complain(&format!("Error: {why}\nRun '{program} --help' for usage."))?;
    Err(Failure::new(code::ERROR, why))
}
