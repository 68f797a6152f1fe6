//! The parts that answers share: headers, keys and values, in each format.

use super::json::Json;
use super::{Style, line};
use crate::ctl::go;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::mvccpb::KeyValue;
use std::fmt::Write as _;

pub fn header_json(header: &pb::ResponseHeader) -> Json {
    header_fields_json(header, Json::object())
}

/// A header whose fields stand among the answer's own, as in the answers to lease requests.
pub fn header_fields_json(header: &pb::ResponseHeader, into: Json) -> Json {
    into.with_some("cluster_id", header.cluster_id)
        .with_some("member_id", header.member_id)
        .with_some("revision", header.revision)
        .with_some("raft_term", header.raft_term)
}

/// The first field of most answers; a header that is missing is left out.
pub fn with_header(header: &Option<pb::ResponseHeader>) -> Json {
    Json::object().with_some("header", header.as_ref().map(header_json))
}

pub fn header_fields(header: &Option<pb::ResponseHeader>, out: &mut Vec<u8>) {
    let header = header.unwrap_or_default();
    line!(out, "\"ClusterID\" : {}", header.cluster_id);
    line!(out, "\"MemberID\" : {}", header.member_id);
    line!(out, "\"Revision\" : {}", header.revision);
    line!(out, "\"RaftTerm\" : {}", header.raft_term);
}

pub fn kv_json(kv: &KeyValue) -> Json {
    Json::object()
        .with_some("key", Json::bytes(&kv.key))
        .with_some("create_revision", kv.create_revision)
        .with_some("mod_revision", kv.mod_revision)
        .with_some("version", kv.version)
        .with_some("value", Json::bytes(&kv.value))
        .with_some("lease", kv.lease)
}

pub fn kv_fields(prefix: &str, kv: &KeyValue, out: &mut Vec<u8>) {
    line!(out, "\"{prefix}Key\" : {}", go::quote(&kv.key));
    line!(out, "\"{prefix}CreateRevision\" : {}", kv.create_revision);
    line!(out, "\"{prefix}ModRevision\" : {}", kv.mod_revision);
    line!(out, "\"{prefix}Version\" : {}", kv.version);
    line!(out, "\"{prefix}Value\" : {}", go::quote(&kv.value));
    line!(out, "\"{prefix}Lease\" : {}", kv.lease);
}

/// The key and the value, a line each.
pub fn kv_simple(style: Style, kv: &KeyValue, out: &mut Vec<u8>) {
    bytes_line(style, &kv.key, out);
    bytes_line(style, &kv.value, out);
}

pub fn bytes_line(style: Style, bytes: &[u8], out: &mut Vec<u8>) {
    if style.hex {
        out.extend(hex(bytes).as_bytes());
    } else {
        out.extend(bytes);
    }
    out.push(b'\n');
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "\\x{byte:02x}").expect("a String takes everything");
        text
    })
}
