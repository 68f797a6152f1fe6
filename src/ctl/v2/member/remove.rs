//! `member remove`: takes a member out of the cluster.

use crate::ctl::commands::ROOT;
use crate::ctl::failure::{Failure, code};
use crate::ctl::v2::client::Client;
use crate::ctl::v2::commands::{Action, Command};
use crate::ctl::v2::context::Context;
use crate::ctl::v2::members;
use std::io::Write as _;

/// The place that etcdctl names.
const DOCUMENTATION: &str = "https://github.com/etcd-io/etcd/blob/master/Documentation/\
                             runtime-configuration.md#remove-a-member";

pub const COMMAND: Command = Command {
    name: "remove",
    args: "<memberID>",
    about: "remove an existing member from the etcd cluster",
    long: "",
    flags: &[],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    let args = context.texts();
    let [id] = &args[..] else {
        return Err(Failure::error("Provide a single member ID"));
    };
    let mut client = Client::synced(context).await?;
    let deadline = context.deadline();
    let members = members::list(&mut client, context, Some(deadline))
        .await
        .map_err(|error| {
            let why = format!("Error while verifying ID against known members: {error}");
            Failure::error(why)
        })?;
    for member in members.iter().filter(|member| member.name == *id) {
        let program = ROOT.name;
        context.terminal.complain(&format!(
            "Found a member named {id}; if this is correct, please use its ID, eg:\n\
             \t{program} member remove {}\n\
             For more details, read the documentation at {DOCUMENTATION}\n",
            member.id
        ))?;
    }
    if !members.iter().any(|member| member.id == *id) {
        let why = format!("Couldn't find a member in the cluster with an ID of {id}.");
        return Err(Failure::error(why));
    }
    if let Err(error) = members::remove(&mut client, context, id, deadline).await {
        let why = format!("Received an error trying to remove member {id}: {error}");
        // Without the end of the line, as etcdctl prints it.
        write!(context.terminal.err, "{why}")?;
        return Err(Failure::silent(code::ERROR));
    }
    context
        .terminal
        .say(&format!("Removed member {id} from cluster"))
}
