//! `auth`: whether clients have to say who they are.

pub mod disable;
pub mod enable;
pub mod status;

use super::commands::{Action, Command};
use super::context::Context;
use super::failure::Failure;

pub const COMMAND: Command = Command {
    name: "auth",
    usage: "auth <enable, disable or status>",
    about: "Commands about authentication",
    long: "",
    flags: &[],
    action: Action::Group(&[&enable::COMMAND, &disable::COMMAND, &status::COMMAND]),
};

fn no_arguments(context: &Context, command: &str) -> Result<(), Failure> {
    match context.args.is_empty() {
        true => Ok(()),
        false => {
            let why = format!("auth {command} command does not accept any arguments");
            Err(Failure::args(why))
        }
    }
}
