//! `version`: what this program is.

use super::commands::{Action, Command, Verb};
use super::context::Context;
use super::failure::Failure;

pub const COMMAND: Command = Command {
    name: "version",
    usage: "version",
    about: "Prints the version of detcdctl",
    long: "",
    flags: &[],
    action: Action::Run(Verb::Version),
};

pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The API of etcd that detcdctl speaks.
pub const API_VERSION: &str = "3.5";

pub fn run(context: &mut Context) -> Result<(), Failure> {
    context.terminal.say(&format!(
        "detcdctl version: {VERSION}\nAPI version: {API_VERSION}"
    ))
}
