//! `role revoke-permission`: has a role allow something no longer.

use super::permitted_keys;
use crate::ctl::auth_change::change;
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::flags::Flag;
use detcd_wire::etcdserverpb as pb;

pub const COMMAND: Command = Command {
    name: "revoke-permission",
    usage: "role revoke-permission <role name> <key> [endkey]",
    about: "Takes a permission of some keys from a role",
    long: "",
    flags: &[
        Flag::switch("from-key", "of the key and every one after it"),
        Flag::switch("prefix", "of every key that starts with this one"),
    ],
    action: Action::Run(Verb::RoleRevokePermission),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let texts = context.texts();
    let [role, _, ..] = &texts[..] else {
        let why = "role revoke-permission command requires role name and key [endkey] as its \
                   argument";
        return Err(Failure::args(why));
    };
    let (key, range_end) = permitted_keys(&context.flags, &context.args[1..])?;
    let (shown, shown_end) = (
        String::from_utf8_lossy(&key),
        String::from_utf8_lossy(&range_end),
    );
    let done = match &range_end[..] {
        [] => format!("Permission of key {shown} is revoked from role {role}"),
        [0] => format!("Permission of range [{shown}, <open ended> is revoked from role {role}"),
        _ => {
            format!("Permission of range [{shown}, {shown_end}) is revoked from role {role}")
        }
    };
    let request = pb::AuthRoleRevokePermissionRequest {
        role: role.clone(),
        key,
        range_end,
    };
    change(context, done, async |mut client| {
        client.role_revoke_permission(request.clone()).await
    })
    .await
}
