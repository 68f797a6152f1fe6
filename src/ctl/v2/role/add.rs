//! `role add`: a new role, which may do nothing yet.

use super::name;
use crate::ctl::failure::Failure;
use crate::ctl::v2::auth_api::AuthApi;
use crate::ctl::v2::commands::{Action, Command};
use crate::ctl::v2::context::Context;
use crate::ctl::v2::error::RequestError;

pub const COMMAND: Command = Command {
    name: "add",
    args: "<role> ",
    about: "add a new role for the etcd cluster",
    long: "",
    flags: &[],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    let name = name(context)?;
    let mut auth = AuthApi::open(context).await?;
    let deadline = context.deadline();
    if auth.role(context, &name, deadline).await.is_ok() {
        return Err(Failure::error(format!("Role {name} already exists")));
    }
    auth.add_role(context, &name, deadline)
        .await
        .map_err(RequestError::fail_plainly)?;
    context.terminal.say(&format!("Role {name} created"))
}
