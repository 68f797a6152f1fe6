//! `role delete`: takes a role away, also from its users.

use super::name;
use crate::ctl::auth_change::change;
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use detcd_wire::etcdserverpb as pb;

pub const COMMAND: Command = Command {
    name: "delete",
    usage: "role delete <role name>",
    about: "Takes a role away, also from its users",
    long: "",
    flags: &[],
    action: Action::Run(Verb::RoleDelete),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let usage = "role delete command requires role name as its argument";
    let role = name(context, usage)?;
    let done = format!("Role {role} deleted");
    let request = pb::AuthRoleDeleteRequest { role };
    change(context, done, async |mut client| {
        client.role_delete(request.clone()).await
    })
    .await
}
