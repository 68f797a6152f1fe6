//! `auth`: whether clients have to say who they are.

mod disable;
mod enable;

use super::auth_api::AuthApi;
use super::commands::{Action, Command};
use super::context::Context;
use super::error::RequestError;
use crate::ctl::failure::Failure;

pub const COMMAND: Command = Command {
    name: "auth",
    args: "",
    about: "overall auth controls",
    long: "",
    flags: &[],
    action: Action::Group(&[&enable::COMMAND, &disable::COMMAND]),
};

async fn switch(context: &mut Context, on: bool) -> Result<(), Failure> {
    context.no_args()?;
    let mut auth = AuthApi::open(context).await?;
    auth.enable(context, on)
        .await
        .map_err(RequestError::fail_plainly)?;
    context.terminal.say(match on {
        true => "Authentication Enabled",
        false => "Authentication Disabled",
    })
}
