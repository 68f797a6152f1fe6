//! `move-leader`: hands leadership to another member.

use super::client::{Client, Repeat};
use super::commands::{Action, Command, Verb};
use super::context::Context;
use super::failure::Failure;
use super::go;
use super::output::json::Json;
use super::output::messages::with_header;
use super::output::{Show, Style, line};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::maintenance_client::MaintenanceClient;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "move-leader",
    usage: "move-leader <transferee-member-id>",
    about: "Hands leadership to another member",
    long: "One of the endpoints must be the leader's.",
    flags: &[],
    action: Action::Run(Verb::MoveLeader),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let [id] = &context.texts()[..] else {
        return Err(Failure::args("move-leader command needs 1 argument"));
    };
    let target_id = go::parse_uint(id, 16).map_err(Failure::args)?;
    context.style()?;
    let endpoints = context.flags.list("endpoints");
    let mut leading = None;
    for endpoint in &endpoints {
        let mut client = Client::of(context, vec![endpoint.clone()])?;
        let status = client
            .call(Repeat::Read, async |service| {
                MaintenanceClient::new(service)
                    .status(pb::StatusRequest {})
                    .await
            })
            .await?;
        if status.header.unwrap_or_default().member_id == status.leader {
            leading = Some((client, status.leader));
            break;
        }
    }
    let Some((mut client, leader)) = leading else {
        let endpoints = endpoints.join(" ");
        return Err(Failure::args(format!(
            "no leader endpoint given at [{endpoints}]"
        )));
    };
    let response = client
        .call(Repeat::Write, async |service| {
            MaintenanceClient::new(service)
                .move_leader(pb::MoveLeaderRequest { target_id })
                .await
        })
        .await?;
    context.show(&LeaderMoved {
        from: leader,
        to: target_id,
        response,
    })
}

struct LeaderMoved {
    from: u64,
    to: u64,
    response: pb::MoveLeaderResponse,
}

impl Show for LeaderMoved {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line!(
            out,
            "Leadership transferred from {:x} to {:x}",
            self.from,
            self.to
        );
    }

    fn has_fields(&self) -> bool {
        false
    }

    fn json(&self, _: Style) -> Json {
        with_header(&self.response.header)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.response.encode_to_vec())
    }
}
