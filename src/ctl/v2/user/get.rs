//! `user get`: a user's roles.

use super::name;
use crate::ctl::failure::Failure;
use crate::ctl::v2::auth_api::AuthApi;
use crate::ctl::v2::commands::{Action, Command};
use crate::ctl::v2::context::Context;
use crate::ctl::v2::error::RequestError;

pub const COMMAND: Command = Command {
    name: "get",
    args: "<user>",
    about: "get details for a user",
    long: "",
    flags: &[],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    let name = name(context)?;
    let mut auth = AuthApi::open(context).await?;
    let user = auth
        .user(context, &name)
        .await
        .map_err(RequestError::fail_plainly)?;
    let names = user.role_names();
    // etcdctl prints an empty name for each role that the server sends whole, before all names.
    let roles = format!("{}{}", " ".repeat(user.whole_roles()), names.join(" "));
    context
        .terminal
        .say(&format!("User: {}\nRoles: {roles}", user.user))
}
