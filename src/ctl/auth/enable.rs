//! `auth enable`: from now on clients have to say who they are.

use super::no_arguments;
use crate::ctl::client::{Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::auth_client::AuthClient;

pub const COMMAND: Command = Command {
    name: "enable",
    usage: "auth enable",
    about: "Has clients say who they are, and lets them do what their roles allow",
    long: "There must be a user root. It is given the role root if it has not got it.",
    flags: &[],
    action: Action::Run(Verb::AuthEnable),
};

/// What etcd answers if the user root has not got the role root.
const NO_ROOT_ROLE: &str = "etcdserver: root user does not have root role";

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    no_arguments(context, "enable")?;
    context.style()?;
    let mut client = Client::new(context)?;
    match enable(&mut client).await {
        Err(failure) if failure.message == NO_ROOT_ROLE => {
            make_root(&mut client).await?;
            enable(&mut client).await?;
        }
        outcome => outcome?,
    }
    context.terminal.say("Authentication Enabled")
}

async fn enable(client: &mut Client) -> Result<(), Failure> {
    client
        .call(Repeat::Write, async |service| {
            AuthClient::new(service)
                .auth_enable(pb::AuthEnableRequest {})
                .await
        })
        .await?;
    Ok(())
}

async fn make_root(client: &mut Client) -> Result<(), Failure> {
    client
        .call(Repeat::Write, async |service| {
            let name = "root".to_owned();
            AuthClient::new(service)
                .role_add(pb::AuthRoleAddRequest { name })
                .await
        })
        .await?;
    client
        .call(Repeat::Write, async |service| {
            let (user, role) = ("root".to_owned(), "root".to_owned());
            AuthClient::new(service)
                .user_grant_role(pb::AuthUserGrantRoleRequest { user, role })
                .await
        })
        .await?;
    Ok(())
}
