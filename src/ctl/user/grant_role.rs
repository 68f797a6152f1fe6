//! `user grant-role`: lets a user do what a role allows.

use super::arguments;
use crate::ctl::auth_change::change;
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use detcd_wire::etcdserverpb as pb;

pub const COMMAND: Command = Command {
    name: "grant-role",
    usage: "user grant-role <user name> <role name>",
    about: "Lets a user do what a role allows",
    long: "",
    flags: &[],
    action: Action::Run(Verb::UserGrantRole),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let usage = "user grant command requires user name and role name as its argument";
    let [user, role] = arguments(context, usage)?;
    let done = format!("Role {role} is granted to user {user}");
    let request = pb::AuthUserGrantRoleRequest { user, role };
    change(context, done, async |mut client| {
        client.user_grant_role(request.clone()).await
    })
    .await
}
