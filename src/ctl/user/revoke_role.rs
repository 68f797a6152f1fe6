//! `user revoke-role`: takes a role from a user.

use super::arguments;
use crate::ctl::auth_change::change;
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use detcd_wire::etcdserverpb as pb;

pub const COMMAND: Command = Command {
    name: "revoke-role",
    usage: "user revoke-role <user name> <role name>",
    about: "Takes a role from a user",
    long: "",
    flags: &[],
    action: Action::Run(Verb::UserRevokeRole),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let usage = "user revoke-role requires user name and role name as its argument";
    let [name, role] = arguments(context, usage)?;
    let done = format!("Role {role} is revoked from user {name}");
    let request = pb::AuthUserRevokeRoleRequest { name, role };
    change(context, done, async |mut client| {
        client.user_revoke_role(request.clone()).await
    })
    .await
}
