//! What stands in a log entry: the payload bytes, the same in the log files, on the wire and in
//! memory. The first byte is a tag that names kind and format; tags are never reused.

use crate::bytes_codec::{DecodeError, Reader, put_bytes, put_count};
use crate::types::{Command, Entry, Membership, Payload, Peer, log_id};
use bytes::{BufMut, Bytes, BytesMut};
use detcd_core::api::MemberId;
use detcd_core::command::Proposal;
use openraft::EntryPayload;
use std::collections::{BTreeMap, BTreeSet};

const TAG_BLANK: u8 = 1;
const TAG_COMMAND: u8 = 2;
const TAG_MEMBERSHIP: u8 = 3;

/// The payload bytes of a proposal.
pub(crate) fn encode_proposal(proposal: &Proposal) -> Command {
    let mut out = BytesMut::with_capacity(1 + 8 + 8 + proposal.command.len());
    out.put_u8(TAG_COMMAND);
    out.put_u64(proposal.origin.0);
    out.put_u64(proposal.seq);
    out.put_slice(&proposal.command);
    Command(out.freeze())
}

/// The proposal in payload bytes; its command shares them.
pub(crate) fn decode_proposal(command: &Command) -> Result<Proposal, DecodeError> {
    let mut reader = Reader::new("log entry", command.0.clone());
    let tag = reader.u8()?;
    if tag != TAG_COMMAND {
        return Err(reader.error(format!("tag {tag} is no command")));
    }
    let origin = MemberId(reader.u64()?);
    let seq = reader.u64()?;
    Ok(Proposal {
        origin,
        seq,
        command: reader.rest(),
    })
}

pub(crate) fn encode(payload: &Payload) -> Bytes {
    match payload {
        EntryPayload::Blank => Bytes::from_static(&[TAG_BLANK]),
        EntryPayload::Normal(command) => command.0.clone(),
        EntryPayload::Membership(membership) => {
            let mut out = BytesMut::new();
            out.put_u8(TAG_MEMBERSHIP);
            put_membership(&mut out, membership);
            out.freeze()
        }
    }
}

pub(crate) fn decode(bytes: Bytes) -> Result<Payload, DecodeError> {
    match bytes.first() {
        Some(&TAG_BLANK) if bytes.len() == 1 => Ok(EntryPayload::Blank),
        Some(&TAG_COMMAND) => {
            let command = Command(bytes);
            decode_proposal(&command)?;
            Ok(EntryPayload::Normal(command))
        }
        Some(&TAG_MEMBERSHIP) => {
            let mut reader = Reader::new("log entry", bytes);
            reader.u8()?;
            let membership = read_membership(&mut reader)?;
            reader.end()?;
            Ok(EntryPayload::Membership(membership))
        }
        first => {
            let reader = Reader::new("log entry", Bytes::new());
            Err(reader.error(format!("no payload starts with {first:?}")))
        }
    }
}

/// An entry of the log from its parts.
pub(crate) fn decode_entry(term: u64, index: u64, bytes: Bytes) -> Result<Entry, DecodeError> {
    Ok(Entry {
        log_id: log_id(term, index),
        payload: decode(bytes)?,
    })
}

pub(crate) fn put_membership(out: &mut BytesMut, membership: &Membership) {
    let configs = membership.get_joint_config();
    put_count(out, configs.len());
    for config in configs {
        put_count(out, config.len());
        for id in config {
            out.put_u64(*id);
        }
    }
    let nodes: Vec<(&u64, &Peer)> = membership.nodes().collect();
    put_count(out, nodes.len());
    for (id, peer) in nodes {
        out.put_u64(*id);
        put_bytes(out, peer.name.as_bytes());
        put_count(out, peer.peer_urls.len());
        for url in &peer.peer_urls {
            put_bytes(out, url.as_bytes());
        }
    }
}

pub(crate) fn read_membership(reader: &mut Reader) -> Result<Membership, DecodeError> {
    let mut configs = Vec::new();
    for _ in 0..reader.count(4)? {
        let mut config = BTreeSet::new();
        for _ in 0..reader.count(8)? {
            config.insert(reader.u64()?);
        }
        configs.push(config);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..reader.count(16)? {
        let id = reader.u64()?;
        let name = reader.string()?;
        let mut peer_urls = Vec::new();
        for _ in 0..reader.count(4)? {
            peer_urls.push(reader.string()?);
        }
        nodes.insert(id, Peer { name, peer_urls });
    }
    if configs.is_empty() && nodes.is_empty() {
        // The membership of a member that knows of none yet; `new` takes only usable ones.
        return Ok(Membership::default());
    }
    Membership::new(configs, nodes).map_err(|error| reader.error(error.to_string()))
}
