//! `member`: who belongs to the cluster.

mod add;
mod list;
mod remove;
mod update;

use super::commands::{Action, Command};

pub const COMMAND: Command = Command {
    name: "member",
    args: "",
    about: "member add, remove and list subcommands",
    long: "",
    flags: &[],
    action: Action::Group(&[
        &list::COMMAND,
        &add::COMMAND,
        &remove::COMMAND,
        &update::COMMAND,
    ]),
};
