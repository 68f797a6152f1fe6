//! `role list`: the names of all roles.

use crate::ctl::failure::Failure;
use crate::ctl::v2::auth_api::AuthApi;
use crate::ctl::v2::commands::{Action, Command};
use crate::ctl::v2::context::Context;
use crate::ctl::v2::error::RequestError;

pub const COMMAND: Command = Command {
    name: "list",
    args: " ",
    about: "list all roles",
    long: "",
    flags: &[],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    context.no_args()?;
    let mut auth = AuthApi::open(context).await?;
    let names = auth.roles(context).await;
    for name in names.map_err(RequestError::fail_plainly)? {
        context.terminal.say(&name)?;
    }
    Ok(())
}
