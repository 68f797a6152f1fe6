//! `alarm disarm`: says that every alarm is over.

use super::{AlarmOutput, list, no_arguments};
use crate::ctl::client::{Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::maintenance_client::MaintenanceClient;

pub const COMMAND: Command = Command {
    name: "disarm",
    usage: "alarm disarm",
    about: "Disarms every alarm",
    long: "A member whose store is still at its quota raises its alarm again with the next write.",
    flags: &[],
    action: Action::Run(Verb::AlarmDisarm),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    no_arguments(context, "alarm disarm")?;
    context.style()?;
    let mut client = Client::new(context)?;
    let raised = list::fetch(&mut client).await?;
    // What etcdctl prints is the sum of many answers, with the header of none. (With `-w fields`
    // it crashes over the header that is missing; here its fields are zero.)
    let mut disarmed = pb::AlarmResponse::default();
    for alarm in raised.alarms {
        let request = pb::AlarmRequest {
            action: pb::alarm_request::AlarmAction::Deactivate.into(),
            member_id: alarm.member_id,
            alarm: alarm.alarm,
        };
        let response = client
            .call(Repeat::Write, async |service| {
                MaintenanceClient::new(service).alarm(request).await
            })
            .await?;
        disarmed.alarms.extend(response.alarms);
    }
    context.show(&AlarmOutput(disarmed))
}
