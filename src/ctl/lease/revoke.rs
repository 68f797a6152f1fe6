//! `lease revoke`: ends a lease and deletes its keys.

use super::parse_id;
use crate::ctl::client::{Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::output::json::Json;
use crate::ctl::output::messages::{header_fields, with_header};
use crate::ctl::output::{Show, Style, line};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::lease_client::LeaseClient;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "revoke",
    usage: "lease revoke <leaseID>",
    about: "Ends a lease and deletes the keys attached to it",
    long: "",
    flags: &[],
    action: Action::Run(Verb::LeaseRevoke),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let [id] = &context.texts()[..] else {
        return Err(Failure::args("lease revoke command needs 1 argument"));
    };
    let id = parse_id(id)?;
    context.style()?;
    let mut client = Client::new(context)?;
    let response = client
        .call(Repeat::Write, async |service| {
            LeaseClient::new(service)
                .lease_revoke(pb::LeaseRevokeRequest { id })
                .await
        })
        .await
        .map_err(|error| Failure::error(format!("failed to revoke lease ({error})")))?;
    context.show(&LeaseRevoked { id, response })
}

pub struct LeaseRevoked {
    pub id: i64,
    pub response: pb::LeaseRevokeResponse,
}

impl Show for LeaseRevoked {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line!(out, "lease {:016x} revoked", self.id);
    }

    fn fields(&self, out: &mut Vec<u8>) {
        header_fields(&self.response.header, out);
    }

    fn json(&self, _: Style) -> Json {
        with_header(&self.response.header)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.response.encode_to_vec())
    }
}
