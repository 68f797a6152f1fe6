//! `snapshot`: a member's state as a file.

pub mod restore;
pub mod save;
pub mod status;

use super::commands::{Action, Command};
use super::context::Context;
use super::failure::Failure;

pub const COMMAND: Command = Command {
    name: "snapshot",
    usage: "snapshot <subcommand>",
    about: "Commands about snapshots of a member's state",
    long: "",
    flags: &[],
    action: Action::Group(&[&restore::COMMAND, &save::COMMAND, &status::COMMAND]),
};

/// What etcdctl says of commands that work on files alone.
fn deprecated(context: &mut Context, command: &str) -> Result<(), Failure> {
    let line = format!("Deprecated: Use `etcdutl snapshot {command}` instead.\n");
    context.terminal.complain(&line)
}
