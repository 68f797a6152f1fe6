//! `auth disable`: everybody may do everything again.

use super::no_arguments;
use crate::ctl::client::{Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::auth_client::AuthClient;

pub const COMMAND: Command = Command {
    name: "disable",
    usage: "auth disable",
    about: "Lets every client do everything",
    long: "",
    flags: &[],
    action: Action::Run(Verb::AuthDisable),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    no_arguments(context, "disable")?;
    context.style()?;
    let mut client = Client::new(context)?;
    client
        .call(Repeat::Write, async |service| {
            AuthClient::new(service)
                .auth_disable(pb::AuthDisableRequest {})
                .await
        })
        .await?;
    context.terminal.say("Authentication Disabled")
}
