//! `setdir`: a directory, and its time to live.

use super::commands::{Action, Command, TTL};
use super::mkdir::set_dir;

pub const COMMAND: Command = Command {
    name: "setdir",
    args: "<key>",
    about: "create a new directory or update an existing directory TTL",
    long: "",
    flags: &[TTL],
    action: Action::Run(|context| Box::pin(set_dir(context, None))),
};
