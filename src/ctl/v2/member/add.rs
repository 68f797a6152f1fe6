//! `member add`: lets a new member into the cluster, and says what it is to be started with.

use crate::ctl::failure::Failure;
use crate::ctl::go;
use crate::ctl::v2::client::Client;
use crate::ctl::v2::commands::{Action, Command};
use crate::ctl::v2::context::Context;
use crate::ctl::v2::error::RequestError;
use crate::ctl::v2::members::{self, Member};

pub const COMMAND: Command = Command {
    name: "add",
    args: "<name> <peerURL>",
    about: "add a new member to the etcd cluster",
    long: "",
    flags: &[],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    let args = context.texts();
    let [name, url] = &args[..] else {
        return Err(Failure::error("Provide a name and a single member peerURL"));
    };
    let mut client = Client::synced(context).await?;
    let deadline = context.deadline();
    let added = members::add(&mut client, context, url, deadline)
        .await
        .map_err(RequestError::fail_plainly)?;
    let id = &added.id;
    context.terminal.say(&format!(
        "Added member named {name} with ID {id} to cluster"
    ))?;
    let members = members::list(&mut client, context, Some(deadline))
        .await
        .map_err(RequestError::fail_plainly)?;
    let pairs = |member: &Member| {
        let name = if member.id == added.id {
            name.clone()
        } else {
            member.name.clone()
        };
        let urls = member.peer_urls.clone();
        urls.into_iter().map(move |url| format!("{name}={url}"))
    };
    let cluster: Vec<String> = members.iter().flat_map(pairs).collect();
    let quoted = |text: &str| go::quote(text.as_bytes());
    context.terminal.say(&format!(
        "\nETCD_NAME={}\nETCD_INITIAL_CLUSTER={}\nETCD_INITIAL_CLUSTER_STATE=\"existing\"",
        quoted(name),
        quoted(&cluster.join(","))
    ))
}
