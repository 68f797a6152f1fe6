//! `user add`: makes a user.

use super::{arguments, new_password};
use crate::ctl::auth_change::change;
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::flags::Flag;
use detcd_wire::{authpb, etcdserverpb as pb};

pub const COMMAND: Command = Command {
    name: "add",
    usage: "user add <user name or user:password> [options]",
    about: "Makes a user",
    long: "",
    flags: &[
        Flag {
            default: "true",
            ..Flag::switch(
                "interactive",
                "ask for the password; =false reads it from stdin",
            )
        },
        Flag::text("new-user-password", "", "the password"),
        Flag::switch(
            "no-password",
            "a user who is known by the common name of a certificate alone",
        ),
    ],
    action: Action::Run(Verb::UserAdd),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let [name] = arguments(
        context,
        "user add command requires user name as its argument",
    )?;
    let no_password = context.flags.switch("no-password");
    let given = context.flags.text("new-user-password").to_owned();
    let (name, password) = match name.split_once(':') {
        _ if no_password => (name, String::new()),
        _ if !given.is_empty() => (name, given),
        Some(("", _)) => return Err(Failure::args("empty user name is not allowed")),
        Some((name, password)) => (name.to_owned(), password.to_owned()),
        None => {
            let password = new_password(context, &name)?;
            (name, password)
        }
    };
    let done = format!("User {name} created");
    let request = pb::AuthUserAddRequest {
        name,
        password,
        options: Some(authpb::UserAddOptions { no_password }),
        hashed_password: String::new(),
    };
    change(context, done, async |mut client| {
        client.user_add(request.clone()).await
    })
    .await
}
