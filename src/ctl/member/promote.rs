//! `member promote`: makes a learner a voter.

use super::change::{MembersChanged, member_id};
use crate::ctl::client::{Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::cluster_client::ClusterClient;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "promote",
    usage: "member promote <memberID>",
    about: "Makes a learner that has caught up a voter",
    long: "",
    flags: &[],
    action: Action::Run(Verb::MemberPromote),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let id = member_id(context)?;
    context.style()?;
    let request = pb::MemberPromoteRequest { id };
    let mut client = Client::new(context)?;
    let response = client
        .call(Repeat::Write, async |service| {
            ClusterClient::new(service).member_promote(request).await
        })
        .await?;
    let bytes = response.encode_to_vec();
    context.show(&MembersChanged {
        id,
        done: "promoted in",
        header: response.header,
        members: response.members,
        bytes,
    })
}
