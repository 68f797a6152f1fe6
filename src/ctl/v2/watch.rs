//! `watch`: what happens to a key.

use super::commands::{Action, Command};
use super::context::Context;
use super::flags::Flag;
use super::keys::{Keys, Wait};
use crate::ctl::failure::Failure;

pub const AFTER_INDEX: Flag = Flag::number(&["after-index"], "watch after the given index");

pub const COMMAND: Command = Command {
    name: "watch",
    args: "<key>",
    about: "watch a key for changes",
    long: "",
    flags: &[
        Flag::switch(&["forever", "f"], "forever watch a key until CTRL+C"),
        AFTER_INDEX,
        Flag::switch(
            &["recursive", "r"],
            "returns all values for key and child keys",
        ),
    ],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    until_interrupted(watch(context)).await
}

/// CTRL+C is the ordinary end of a command that has no other.
pub async fn until_interrupted(
    command: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    tokio::select! {
        biased;
        ended = command => ended,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

async fn watch(context: &mut Context) -> Result<(), Failure> {
    let mut keys = Keys::open(context).await?;
    let key = context.key()?;
    let recursive = context.flags.switch("recursive");
    let forever = context.flags.switch("forever");
    let mut wait = Wait::new(key, recursive, context.flags.number("after-index"));
    loop {
        let event = keys.next(context, &mut wait).await?;
        if event.node.dir {
            continue;
        }
        if recursive {
            let line = format!("[{}] {}", event.action, event.node.key);
            context.terminal.say(&line)?;
        }
        event.print(context)?;
        if !forever {
            return Ok(());
        }
    }
}
