//! `updatedir`: the time to live of a directory that exists.

use super::commands::{Action, Command, TTL};
use super::mkdir::set_dir;

pub const COMMAND: Command = Command {
    name: "updatedir",
    args: "<key> <value>",
    about: "update an existing directory",
    long: "",
    flags: &[TTL],
    action: Action::Run(|context| Box::pin(set_dir(context, Some(true)))),
};
