//! `role grant-permission`: has a role allow something.

use super::permitted_keys;
use crate::ctl::auth_change::change;
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::flags::Flag;
use detcd_wire::authpb::Permission;
use detcd_wire::authpb::permission::Type;
use detcd_wire::etcdserverpb as pb;

pub const COMMAND: Command = Command {
    name: "grant-permission",
    usage: "role grant-permission [options] <role name> <permission type> <key> [endkey]",
    about: "Has a role allow read, write or readwrite of some keys",
    long: "",
    flags: &[
        Flag::switch("from-key", "of the key and every one after it"),
        Flag::switch("prefix", "of every key that starts with this one"),
    ],
    action: Action::Run(Verb::RoleGrantPermission),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let texts = context.texts();
    let [name, kind, _, ..] = &texts[..] else {
        let why = "role grant command requires role name, permission type, and key [endkey] as its \
                   argument";
        return Err(Failure::args(why));
    };
    let perm_type = Type::from_str_name(&kind.to_uppercase())
        .ok_or_else(|| Failure::args(format!("invalid permission type: {kind}")))?;
    let (key, range_end) = permitted_keys(&context.flags, &context.args[2..])?;
    let request = pb::AuthRoleGrantPermissionRequest {
        name: name.clone(),
        perm: Some(Permission {
            perm_type: perm_type.into(),
            key,
            range_end,
        }),
    };
    let done = format!("Role {name} updated");
    change(context, done, async |mut client| {
        client.role_grant_permission(request.clone()).await
    })
    .await
}
