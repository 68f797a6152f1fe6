//! `lease timetolive`: what a lease has left.

use super::{as_connection, parse_id};
use crate::ctl::client::{ANSWER_BYTES_MAX, Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::flags::Flag;
use crate::ctl::output::json::Json;
use crate::ctl::output::messages::{header_fields, header_fields_json};
use crate::ctl::output::{Show, Style, line};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::lease_client::LeaseClient;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "timetolive",
    usage: "lease timetolive <leaseID> [options]",
    about: "Prints what a lease has left",
    long: "",
    flags: &[Flag::switch(
        "keys",
        "also print the keys attached to the lease",
    )],
    action: Action::Run(Verb::LeaseTimeToLive),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let [id] = &context.texts()[..] else {
        return Err(Failure::args(
            "lease timetolive command needs lease ID as argument",
        ));
    };
    let request = pb::LeaseTimeToLiveRequest {
        id: parse_id(id)?,
        keys: context.flags.switch("keys"),
    };
    context.style()?;
    let mut client = Client::new(context)?;
    let response = client
        .call(Repeat::Read, async |service| {
            let client = LeaseClient::new(service).max_decoding_message_size(ANSWER_BYTES_MAX);
            { client }.lease_time_to_live(request).await
        })
        .await
        .map_err(as_connection)?;
    context.show(&LeaseTimeToLive {
        response,
        keys: request.keys,
    })
}

pub struct LeaseTimeToLive {
    pub response: pb::LeaseTimeToLiveResponse,
    /// Whether the keys were asked for.
    pub keys: bool,
}

impl Show for LeaseTimeToLive {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        let pb::LeaseTimeToLiveResponse {
            id,
            ttl,
            granted_ttl,
            keys,
            ..
        } = &self.response;
        if *granted_ttl == 0 && *ttl == -1 {
            line!(out, "lease {id:016x} already expired");
            return;
        }
        let text = format!("lease {id:016x} granted with TTL({granted_ttl}s), remaining({ttl}s)");
        out.extend(text.as_bytes());
        if self.keys {
            out.extend(b", attached keys([");
            out.extend(keys.join(&b' '));
            out.extend(b"])");
        }
        out.push(b'\n');
    }

    fn fields(&self, out: &mut Vec<u8>) {
        header_fields(&self.response.header, out);
        line!(out, "\"ID\" : {}", self.response.id);
        line!(out, "\"TTL\" : {}", self.response.ttl);
        line!(out, "\"GrantedTTL\" : {}", self.response.granted_ttl);
        for key in &self.response.keys {
            line!(out, "\"Key\" : {}", crate::ctl::go::quote(key));
        }
    }

    fn json(&self, _: Style) -> Json {
        let keys = &self.response.keys;
        let keys = match keys.is_empty() {
            true => Json::Null,
            false => Json::list(keys, |key| Json::bytes(key)),
        };
        header_fields_json(&self.response.header.unwrap_or_default(), Json::object())
            .with("id", self.response.id)
            .with("ttl", self.response.ttl)
            .with("granted-ttl", self.response.granted_ttl)
            .with("keys", keys)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.response.header.unwrap_or_default().encode_to_vec())
    }
}
