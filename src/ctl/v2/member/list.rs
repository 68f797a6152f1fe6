//! `member list`: the members, and which of them leads.

use crate::ctl::failure::Failure;
use crate::ctl::v2::client::Client;
use crate::ctl::v2::commands::{Action, Command};
use crate::ctl::v2::context::Context;
use crate::ctl::v2::error::RequestError;
use crate::ctl::v2::members;

pub const COMMAND: Command = Command {
    name: "list",
    args: " ",
    about: "enumerate existing cluster members",
    long: "",
    flags: &[],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    context.no_args()?;
    let mut client = Client::synced(context).await?;
    let deadline = context.deadline();
    let members = members::list(&mut client, context, Some(deadline))
        .await
        .map_err(RequestError::fail_plainly)?;
    let leader = members::leader(&mut client, context, deadline)
        .await
        .map_err(|error| Failure::error(format!("Failed to get leader:  {error}")))?;
    for member in members {
        let (id, peers) = (&member.id, member.peer_urls.join(","));
        let line = match &member.name[..] {
            "" => format!("{id}[unstarted]: peerURLs={peers}"),
            name => {
                let clients = member.client_urls.join(",");
                let leads = *id == leader.id;
                format!("{id}: name={name} peerURLs={peers} clientURLs={clients} isLeader={leads}")
            }
        };
        context.terminal.say(&line)?;
    }
    Ok(())
}
