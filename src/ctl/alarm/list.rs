//! `alarm list`: the alarms that are raised.

use super::{AlarmOutput, no_arguments};
use crate::ctl::client::{Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::maintenance_client::MaintenanceClient;

pub const COMMAND: Command = Command {
    name: "list",
    usage: "alarm list",
    about: "Prints the alarms that are raised",
    long: "",
    flags: &[],
    action: Action::Run(Verb::AlarmList),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    no_arguments(context, "alarm list")?;
    context.style()?;
    let mut client = Client::new(context)?;
    let response = fetch(&mut client).await?;
    context.show(&AlarmOutput(response))
}

pub async fn fetch(client: &mut Client) -> Result<pb::AlarmResponse, Failure> {
    client
        .call(Repeat::Read, async |service| {
            MaintenanceClient::new(service)
                .alarm(pb::AlarmRequest::default())
                .await
        })
        .await
}
