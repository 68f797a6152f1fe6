//! `compaction`: drops the history before a revision.

use super::client::{Client, Repeat};
use super::commands::{Action, Command, Verb};
use super::context::Context;
use super::failure::Failure;
use super::flags::Flag;
use super::go;
use detcd_rt as rt;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::kv_client::KvClient;
use std::time::Duration;

pub const COMMAND: Command = Command {
    name: "compaction",
    usage: "compaction [options] <revision>",
    about: "Drops the history before a revision",
    long: "",
    flags: &[Flag::switch(
        "physical",
        "wait until the old versions are gone from the store",
    )],
    action: Action::Run(Verb::Compaction),
};

/// A physical compaction takes as long as there is history to drop.
const PHYSICAL_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let [revision] = &context.texts()[..] else {
        return Err(Failure::args("compaction command needs 1 argument"));
    };
    let revision = go::parse_int(revision, 10).map_err(Failure::error)?;
    let physical = context.flags.switch("physical");
    let request = pb::CompactionRequest { revision, physical };
    let mut client = Client::new(context)?;
    let deadline = match physical {
        true => rt::Instant::now() + PHYSICAL_TIMEOUT,
        false => client.deadline(),
    };
    client
        .call_within(Repeat::Write, deadline, async |service| {
            KvClient::new(service).compact(request).await
        })
        .await?;
    context
        .terminal
        .say(&format!("compacted revision {revision}"))
}
