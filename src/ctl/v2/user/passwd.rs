//! `user passwd`: another password for a user.

use super::name;
use crate::ctl::failure::Failure;
use crate::ctl::v2::auth_api::AuthApi;
use crate::ctl::v2::commands::{Action, Command};
use crate::ctl::v2::context::Context;
use crate::ctl::v2::error::RequestError;

pub const COMMAND: Command = Command {
    name: "passwd",
    args: "<user>",
    about: "change password for a user",
    long: "",
    flags: &[],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    let name = name(context)?;
    let mut auth = AuthApi::open(context).await?;
    let deadline = context.deadline();
    let password = context.terminal.ask_secret("New password: ")?;
    auth.change_password(context, &name, &password, deadline)
        .await
        .map_err(RequestError::fail_plainly)?;
    context.terminal.say("Password updated")
}
