//! `lease list`: every lease there is.

use super::as_connection;
use crate::ctl::client::{ANSWER_BYTES_MAX, Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::output::json::Json;
use crate::ctl::output::messages::{header_fields, header_fields_json};
use crate::ctl::output::{Show, Style, line};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::lease_client::LeaseClient;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "list",
    usage: "lease list",
    about: "Prints every lease",
    long: "",
    flags: &[],
    action: Action::Run(Verb::LeaseList),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    context.style()?;
    let mut client = Client::new(context)?;
    let response = client
        .call(Repeat::Read, async |service| {
            let client = LeaseClient::new(service).max_decoding_message_size(ANSWER_BYTES_MAX);
            { client }.lease_leases(pb::LeaseLeasesRequest {}).await
        })
        .await
        .map_err(as_connection)?;
    context.show(&LeaseList(response))
}

pub struct LeaseList(pub pb::LeaseLeasesResponse);

impl Show for LeaseList {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line!(out, "found {} leases", self.0.leases.len());
        for lease in &self.0.leases {
            line!(out, "{:016x}", lease.id);
        }
    }

    fn fields(&self, out: &mut Vec<u8>) {
        header_fields(&self.0.header, out);
        for lease in &self.0.leases {
            line!(out, "\"ID\" : {}", lease.id);
        }
    }

    fn json(&self, _: Style) -> Json {
        header_fields_json(&self.0.header.unwrap_or_default(), Json::object()).with(
            "leases",
            Json::list(&self.0.leases, |lease| Json::object().with("id", lease.id)),
        )
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.header.unwrap_or_default().encode_to_vec())
    }
}
