//! `role get`: the paths of a role.

use super::name;
use crate::ctl::failure::Failure;
use crate::ctl::v2::auth_api::AuthApi;
use crate::ctl::v2::commands::{Action, Command};
use crate::ctl::v2::context::Context;
use crate::ctl::v2::error::RequestError;

pub const COMMAND: Command = Command {
    name: "get",
    args: "<role>",
    about: "get details for a role",
    long: "",
    flags: &[],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    let name = name(context)?;
    let mut auth = AuthApi::open(context).await?;
    let deadline = context.deadline();
    let role = auth
        .role(context, &name, deadline)
        .await
        .map_err(RequestError::fail_plainly)?;
    let paths = |paths: Option<Vec<String>>| -> String {
        let lines = paths.into_iter().flatten();
        lines.map(|path| format!("\n\t{path}")).collect()
    };
    let kv = role.permissions.kv;
    context.terminal.say(&format!(
        "Role: {}\nKV Read:{}\nKV Write:{}",
        role.role,
        paths(kv.read),
        paths(kv.write)
    ))
}
