//! `member`: who belongs to the cluster.

pub mod list;

use super::commands::{Action, Command};

pub const COMMAND: Command = Command {
    name: "member",
    usage: "member <subcommand>",
    about: "Commands about the members of the cluster",
    long: "",
    flags: &[],
    action: Action::Group(&[&list::COMMAND]),
};
