//! `user list`: the names of all users.

use crate::ctl::failure::Failure;
use crate::ctl::v2::auth_api::AuthApi;
use crate::ctl::v2::commands::{Action, Command};
use crate::ctl::v2::context::Context;
use crate::ctl::v2::error::RequestError;

pub const COMMAND: Command = Command {
    name: "list",
    args: "<user>",
    about: "list all current users",
    long: "",
    flags: &[],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    context.no_args()?;
    let mut auth = AuthApi::open(context).await?;
    let names = auth.users(context).await;
    for name in names.map_err(RequestError::fail_plainly)? {
        context.terminal.say(&name)?;
    }
    Ok(())
}
