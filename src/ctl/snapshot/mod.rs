//! `snapshot`: a member's state as a file.

pub mod save;

use super::commands::{Action, Command};

pub const COMMAND: Command = Command {
    name: "snapshot",
    usage: "snapshot <subcommand>",
    about: "Commands about snapshots of a member's state",
    long: "",
    flags: &[],
    action: Action::Group(&[&save::COMMAND]),
};
