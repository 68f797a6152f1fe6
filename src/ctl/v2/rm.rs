//! `rm`: removes a key or a directory.

use super::commands::{Action, Command};
use super::context::Context;
use super::flags::Flag;
use super::keys::{Delete, Keys};
use crate::ctl::failure::Failure;

pub const COMMAND: Command = Command {
    name: "rm",
    args: "<key>",
    about: "remove a key or a directory",
    long: "",
    flags: &[
        Flag::switch(
            &["dir"],
            "removes the key if it is an empty directory or a key-value pair",
        ),
        Flag::switch(
            &["recursive", "r"],
            "removes the key and all child keys(if it is a directory)",
        ),
        Flag::text(&["with-value"], "previous value"),
        Flag::number(&["with-index"], "previous index"),
    ],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    let delete = Delete {
        dir: context.flags.switch("dir"),
        recursive: context.flags.switch("recursive"),
        prev_value: context.flags.bytes("with-value"),
        prev_index: context.flags.number("with-index"),
    };
    remove(context, delete).await
}

/// Removes the key that the command names.
pub async fn remove(context: &mut Context, delete: Delete) -> Result<(), Failure> {
    let mut keys = Keys::open(context).await?;
    let key = context.key()?;
    keys.delete(context, &key, delete)
        .await?
        .print_change(context)
}
