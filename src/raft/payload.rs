//! What stands in a log entry: the payload bytes, the same in the log files, on the wire and in
//! memory. The first byte names kind and format; its values are never reused.

use crate::bytes_codec::{DecodeError, Reader, put_bytes, put_count};
use crate::types::{Command, Entry, Membership, Payload, Peer, log_id};
use bytes::{BufMut, Bytes, BytesMut};
use detcd_core::codec;
use detcd_core::command::Proposal;
use detcd_core::view::Fault;
use openraft::EntryPayload;
use std::collections::{BTreeMap, BTreeSet};

/// Tags from here on are raft's own; below, the payload is a proposal in core's encoding, which
/// starts with its format number.
const TAG_RAFT: u8 = 0xf0;
const TAG_BLANK: u8 = 0xf0;
const TAG_MEMBERSHIP: u8 = 0xf1;

/// The payload bytes of a proposal.
pub(crate) fn encode_proposal(proposal: &Proposal) -> Command {
    Command(codec::encode_proposal(proposal))
}

/// The proposal in payload bytes; its command shares them.
pub(crate) fn decode_proposal(command: &Command) -> Result<Proposal, Fault> {
    codec::decode_proposal(&command.0)
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
    let mut reader = Reader::new("log entry", bytes.clone());
    match reader.u8()? {
        TAG_BLANK => {
            reader.end()?;
            Ok(EntryPayload::Blank)
        }
        TAG_MEMBERSHIP => {
            let membership = read_membership(&mut reader)?;
            reader.end()?;
            Ok(EntryPayload::Membership(membership))
        }
        tag if tag >= TAG_RAFT => Err(reader.error(format!("no payload starts with {tag}"))),
        // What a command says is apply's to judge.
        _ => Ok(EntryPayload::Normal(Command(bytes))),
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
