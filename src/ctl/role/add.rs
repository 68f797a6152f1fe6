//! `role add`: makes a role.

use super::name;
use crate::ctl::auth_change::change;
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use detcd_wire::etcdserverpb as pb;

pub const COMMAND: Command = Command {
    name: "add",
    usage: "role add <role name>",
    about: "Makes a role, which allows nothing yet",
    long: "",
    flags: &[],
    action: Action::Run(Verb::RoleAdd),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let name = name(
        context,
        "role add command requires role name as its argument",
    )?;
    let done = format!("Role {name} created");
    let request = pb::AuthRoleAddRequest { name };
    change(context, done, async |mut client| {
        client.role_add(request.clone()).await
    })
    .await
}
