//! `user remove`: takes a user away.

use super::name;
use crate::ctl::failure::Failure;
use crate::ctl::v2::auth_api::AuthApi;
use crate::ctl::v2::commands::{Action, Command};
use crate::ctl::v2::context::Context;
use crate::ctl::v2::error::RequestError;

pub const COMMAND: Command = Command {
    name: "remove",
    args: "<user>",
    about: "remove a user for the etcd cluster",
    long: "",
    flags: &[],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    let name = name(context)?;
    let mut auth = AuthApi::open(context).await?;
    auth.remove(context, "users", &name)
        .await
        .map_err(RequestError::fail_plainly)?;
    context.terminal.say(&format!("User {name} removed"))
}
