//! `member`: who belongs to the cluster.

pub mod add;
mod change;
pub mod list;
pub mod promote;
pub mod remove;
pub mod update;

use super::commands::{Action, Command};

pub const COMMAND: Command = Command {
    name: "member",
    usage: "member <subcommand>",
    about: "Commands about the members of the cluster",
    long: "",
    flags: &[],
    action: Action::Group(&[
        &add::COMMAND,
        &remove::COMMAND,
        &update::COMMAND,
        &list::COMMAND,
        &promote::COMMAND,
    ]),
};
