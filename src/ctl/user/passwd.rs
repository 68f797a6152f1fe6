//! `user passwd`: gives a user another password.

use super::{arguments, new_password};
use crate::ctl::auth_change::change;
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::flags::Flag;
use detcd_wire::etcdserverpb as pb;

pub const COMMAND: Command = Command {
    name: "passwd",
    usage: "user passwd <user name> [options]",
    about: "Gives a user another password",
    long: "",
    flags: &[Flag {
        default: "true",
        ..Flag::switch(
            "interactive",
            "ask for the password; =false reads it from stdin",
        )
    }],
    action: Action::Run(Verb::UserPasswd),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let usage = "user passwd command requires user name as its argument";
    let [name] = arguments(context, usage)?;
    let password = new_password(context, &name)?;
    let request = pb::AuthUserChangePasswordRequest {
        name,
        password,
        hashed_password: String::new(),
    };
    change(
        context,
        "Password updated".to_owned(),
        async |mut client| client.user_change_password(request.clone()).await,
    )
    .await
}
