//! `member update`: tells the cluster where a member is reached.

use super::change::{MembersChanged, PEER_URLS, member_id, peer_urls};
use crate::ctl::client::{Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::cluster_client::ClusterClient;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "update",
    usage: "member update <memberID> [options]",
    about: "Tells the cluster where a member is reached",
    long: "",
    flags: &[PEER_URLS],
    action: Action::Run(Verb::MemberUpdate),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let id = member_id(context)?;
    let (_, peer_urls) = peer_urls(context)?;
    context.style()?;
    let request = pb::MemberUpdateRequest { id, peer_urls };
    let mut client = Client::new(context)?;
    let response = client
        .call(Repeat::Write, async |service| {
            ClusterClient::new(service)
                .member_update(request.clone())
                .await
        })
        .await?;
    let bytes = response.encode_to_vec();
    context.show(&MembersChanged {
        id,
        done: "updated in",
        header: response.header,
        members: response.members,
        bytes,
    })
}
