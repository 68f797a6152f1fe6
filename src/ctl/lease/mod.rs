//! `lease`: leases, which let keys vanish together when nobody renews them.

pub mod grant;
pub mod keep_alive;
pub mod list;
pub mod revoke;
pub mod timetolive;

use super::commands::{Action, Command};
use super::failure::{Failure, code};
use super::go;
use super::output::json::Json;
use super::output::line;
use super::output::messages::{header_fields, header_fields_json};
use detcd_wire::etcdserverpb as pb;

pub const COMMAND: Command = Command {
    name: "lease",
    usage: "lease <subcommand>",
    about: "Commands about leases",
    long: "",
    flags: &[],
    action: Action::Group(&[
        &grant::COMMAND,
        &keep_alive::COMMAND,
        &list::COMMAND,
        &revoke::COMMAND,
        &timetolive::COMMAND,
    ]),
};

/// A lease id as people write it: in hexadecimal.
fn parse_id(text: &str) -> Result<i64, Failure> {
    go::parse_int(text, 16)
        .map_err(|why| Failure::args(format!("bad lease ID arg ({why}), expecting ID in Hex")))
}

/// The fields that the answers to a grant and to a renewal share.
fn id_and_ttl_fields(header: &Option<pb::ResponseHeader>, id: i64, ttl: i64, out: &mut Vec<u8>) {
    header_fields(header, out);
    line!(out, "\"ID\" : {id}");
    line!(out, "\"TTL\" : {ttl}");
}

fn id_and_ttl_json(header: &Option<pb::ResponseHeader>, id: i64, ttl: i64) -> Json {
    header_fields_json(&header.unwrap_or_default(), Json::object())
        .with("ID", id)
        .with("TTL", ttl)
}

/// etcdctl counts what goes wrong in these commands as a bad connection.
fn as_connection(failure: Failure) -> Failure {
    Failure {
        code: code::BAD_CONNECTION,
        ..failure
    }
}
