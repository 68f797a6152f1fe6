//! `member update`: tells the cluster where a member is reached.

use crate::ctl::failure::Failure;
use crate::ctl::v2::client::Client;
use crate::ctl::v2::commands::{Action, Command};
use crate::ctl::v2::context::Context;
use crate::ctl::v2::error::RequestError;
use crate::ctl::v2::members;

pub const COMMAND: Command = Command {
    name: "update",
    args: "<memberID> <peerURLs>",
    about: "update an existing member in the etcd cluster",
    long: "",
    flags: &[],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    let args = context.texts();
    let [id, urls] = &args[..] else {
        return Err(Failure::error(
            "Provide an ID and a list of comma separated peerURL (0xabcd \
             http://example.com,http://example1.com)",
        ));
    };
    let mut client = Client::synced(context).await?;
    let urls: Vec<String> = urls.split(',').map(str::to_owned).collect();
    let deadline = context.deadline();
    members::update(&mut client, context, id, &urls, deadline)
        .await
        .map_err(RequestError::fail_plainly)?;
    context
        .terminal
        .say(&format!("Updated member with ID {id} in cluster"))
}
