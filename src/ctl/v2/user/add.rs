//! `user add`: a new user, as `name:password` or with a password that is typed in.

use super::name;
use crate::ctl::failure::Failure;
use crate::ctl::v2::auth_api::AuthApi;
use crate::ctl::v2::commands::{Action, Command};
use crate::ctl::v2::context::Context;
use crate::ctl::v2::error::RequestError;

pub const COMMAND: Command = Command {
    name: "add",
    args: "<user>",
    about: "add a new user for the etcd cluster",
    long: "",
    flags: &[],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    let user = name(context)?;
    let mut auth = AuthApi::open(context).await?;
    let deadline = context.deadline();
    let (name, password) = match user.split_once(':') {
        Some((name, password)) => (name, password.to_owned()),
        None => (&user[..], context.terminal.ask_secret("New password: ")?),
    };
    auth.add_user(context, name, &password, deadline)
        .await
        .map_err(RequestError::fail_plainly)?;
    context.terminal.say(&format!("User {name} created"))
}
