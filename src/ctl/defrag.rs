//! `defrag`: has members give back the space of what was removed.

use super::client::{Client, Repeat};
use super::commands::{Action, Command, Verb};
use super::context::Context;
use super::endpoint::{CLUSTER, endpoints};
use super::failure::{Failure, code};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::maintenance_client::MaintenanceClient;

pub const COMMAND: Command = Command {
    name: "defrag",
    usage: "defrag",
    about: "Has the members of the endpoints give back the space of removed rows",
    long: "Members of detcd go on serving meanwhile. They do so by themselves after a compaction, too.",
    flags: &[CLUSTER],
    action: Action::Run(Verb::Defrag),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    context.style()?;
    let mut has_failed = false;
    for endpoint in endpoints(context).await? {
        let mut client = Client::of(context, vec![endpoint.clone()])?;
        let answer = client
            .call(Repeat::Read, async |service| {
                let request = pb::DefragmentRequest {};
                MaintenanceClient::new(service).defragment(request).await
            })
            .await;
        match answer {
            Ok(_) => {
                let line = format!("Finished defragmenting etcd member[{endpoint}]");
                context.terminal.say(&line)?;
            }
            Err(why) => {
                let line = format!("Failed to defragment etcd member[{endpoint}] ({why})");
                context.terminal.complain(&line)?;
                has_failed = true;
            }
        }
    }
    match has_failed {
        true => Err(Failure::silent(code::ERROR)),
        false => Ok(()),
    }
}
