//! `user`: who may ask.

pub mod add;
pub mod delete;
pub mod get;
pub mod grant_role;
pub mod list;
pub mod passwd;
pub mod revoke_role;

use super::commands::{Action, Command};
use super::context::Context;
use super::failure::Failure;

pub const COMMAND: Command = Command {
    name: "user",
    usage: "user <subcommand>",
    about: "Commands about users",
    long: "",
    flags: &[],
    action: Action::Group(&[
        &add::COMMAND,
        &delete::COMMAND,
        &get::COMMAND,
        &list::COMMAND,
        &passwd::COMMAND,
        &grant_role::COMMAND,
        &revoke_role::COMMAND,
    ]),
};

/// The arguments, if they are as many as the command takes.
fn arguments<const N: usize>(context: &Context, usage: &str) -> Result<[String; N], Failure> {
    let arguments = context.texts().try_into();
    arguments.map_err(|_| Failure::args(usage))
}

/// A new password: typed twice and unseen, or the first word of the standard input.
fn new_password(context: &mut Context, user: &str) -> Result<String, Failure> {
    if !context.flags.switch("interactive") {
        let mut line = String::new();
        context.terminal.input.read_line(&mut line)?;
        let word = line.split_whitespace().next();
        return Ok(word.unwrap_or_default().to_owned());
    }
    let terminal = &mut context.terminal;
    let password = terminal.ask_secret(&format!("Password of {user}: "))?;
    if password.is_empty() {
        return Err(Failure::args("empty password"));
    }
    let prompt = format!("Type password of {user} again for confirmation: ");
    match terminal.ask_secret(&prompt)? == password {
        true => Ok(password),
        false => Err(Failure::args("given passwords are different")),
    }
}
