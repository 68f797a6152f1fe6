//! `member remove`: takes a member out of the cluster.

use super::change::{MembersChanged, member_id};
use crate::ctl::client::{Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::cluster_client::ClusterClient;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "remove",
    usage: "member remove <memberID>",
    about: "Takes a member out of the cluster, for good",
    long: "",
    flags: &[],
    action: Action::Run(Verb::MemberRemove),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let id = member_id(context)?;
    context.style()?;
    let request = pb::MemberRemoveRequest { id };
    let mut client = Client::new(context)?;
    let response = client
        .call(Repeat::Write, async |service| {
            ClusterClient::new(service).member_remove(request).await
        })
        .await?;
    let bytes = response.encode_to_vec();
    context.show(&MembersChanged {
        id,
        done: "removed from",
        header: response.header,
        members: response.members,
        bytes,
    })
}
