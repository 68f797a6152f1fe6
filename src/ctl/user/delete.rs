//! `user delete`: takes a user away.

use super::arguments;
use crate::ctl::auth_change::change;
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use detcd_wire::etcdserverpb as pb;

pub const COMMAND: Command = Command {
    name: "delete",
    usage: "user delete <user name>",
    about: "Takes a user away",
    long: "",
    flags: &[],
    action: Action::Run(Verb::UserDelete),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let usage = "user delete command requires user name as its argument";
    let [name] = arguments(context, usage)?;
    let done = format!("User {name} deleted");
    let request = pb::AuthUserDeleteRequest { name };
    change(context, done, async |mut client| {
        client.user_delete(request.clone()).await
    })
    .await
}
