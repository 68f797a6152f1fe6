//! `user`: who may sign in, and with which roles.

mod add;
mod get;
mod grant;
mod list;
mod passwd;
mod remove;
mod revoke;

use super::auth_api::{AuthApi, Direction};
use super::commands::{Action, Command};
use super::context::Context;
use super::error::RequestError;
use super::flags::Flag;
use crate::ctl::failure::Failure;

pub const COMMAND: Command = Command {
    name: "user",
    args: "",
    about: "user add, grant and revoke subcommands",
    long: "",
    flags: &[],
    action: Action::Group(&[
        &add::COMMAND,
        &get::COMMAND,
        &list::COMMAND,
        &remove::COMMAND,
        &grant::COMMAND,
        &revoke::COMMAND,
        &passwd::COMMAND,
    ]),
};

const ROLES: Flag = Flag::texts(&["roles"], "List of roles to grant or revoke");

/// The one argument of most of these commands.
fn name(context: &Context) -> Result<String, Failure> {
    match &context.texts()[..] {
        [name] => Ok(name.clone()),
        _ => Err(Failure::error("Please provide a username")),
    }
}

async fn change_roles(context: &mut Context, direction: Direction) -> Result<(), Failure> {
    let roles = context.flags.texts("roles");
    if roles.is_empty() {
        let why = "No roles specified; please use `--roles`";
        return Err(Failure::error(why));
    }
    let name = name(context)?;
    let mut auth = AuthApi::open(context).await?;
    auth.change_roles(context, &name, direction, &roles)
        .await
        .map_err(RequestError::fail_plainly)?;
    context.terminal.say(&format!("User {name} updated"))
}
