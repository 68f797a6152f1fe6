//! `endpoint hashkv`: the hash of the history on each endpoint's member; members that agree on the
//! compaction have equal hashes.

use super::endpoints;
use crate::ctl::client::{Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::{Failure, code};
use crate::ctl::flags::Flag;
use crate::ctl::go;
use crate::ctl::output::json::Json;
use crate::ctl::output::messages::{header_fields, with_header};
use crate::ctl::output::table::Table;
use crate::ctl::output::{Show, Style, line};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::maintenance_client::MaintenanceClient;

pub const COMMAND: Command = Command {
    name: "hashkv",
    usage: "endpoint hashkv",
    about: "Prints the hash of the history on each endpoint",
    long: "",
    flags: &[Flag::number(
        "rev",
        "hash the history up to this revision (0: all of it)",
    )],
    action: Action::Run(Verb::EndpointHashKv),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    context.style()?;
    let request = pb::HashKvRequest {
        revision: context.flags.number("rev"),
    };
    let mut hashes = Vec::new();
    let mut failure = None;
    for endpoint in endpoints(context).await? {
        let mut client = Client::of(context, vec![endpoint.clone()])?;
        let answer = client
            .call(Repeat::Read, async |service| {
                MaintenanceClient::new(service).hash_kv(request).await
            })
            .await;
        match answer {
            Ok(hash) => hashes.push((endpoint, hash)),
            Err(why) => {
                let line = format!("Failed to get the hash of endpoint {endpoint} ({why})");
                context.terminal.complain(&line)?;
                failure = Some(Failure {
                    code: code::ERROR,
                    ..why
                });
            }
        }
    }
    context.show(&HashOutput(hashes))?;
    failure.map_or(Ok(()), Err)
}

pub struct HashOutput(pub Vec<(String, pb::HashKvResponse)>);

impl HashOutput {
    fn rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.0
            .iter()
            .map(|(endpoint, hash)| vec![endpoint.clone(), hash.hash.to_string()])
    }
}

impl Show for HashOutput {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        for row in self.rows() {
            line!(out, "{}", row.join(", "));
        }
    }

    fn fields(&self, out: &mut Vec<u8>) {
        for (endpoint, hash) in &self.0 {
            header_fields(&hash.header, out);
            line!(out, "\"Endpoint\" : {}", go::quote(endpoint.as_bytes()));
            line!(out, "\"Hash\" : {}", hash.hash);
            line!(out, "");
        }
    }

    fn json(&self, _: Style) -> Json {
        Json::list(&self.0, |(endpoint, hash)| {
            let hash = with_header(&hash.header)
                .with_some("hash", hash.hash)
                .with_some("compact_revision", hash.compact_revision)
                .with_some("hash_revision", hash.hash_revision);
            Json::object()
                .with("Endpoint", &endpoint[..])
                .with("HashKV", hash)
        })
    }

    fn table(&self) -> Option<Table> {
        Some(Table {
            headings: vec!["Endpoint", "Hash"],
            rows: self.rows().collect(),
        })
    }
}
