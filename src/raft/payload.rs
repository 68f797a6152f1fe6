//! What stands in a log entry: the payload bytes, the same in the log files, on the wire and in
//! memory. The first byte names kind and format; its values are never reused.

use crate::types::{Command, Entry, Membership, Payload, Peer, log_id};
use bytes::Bytes;
use detcd_core::codec;
use detcd_core::command::Proposal;
use detcd_core::encoding::{DecodeError, Reader, Writer};
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
            let mut out = Writer::default();
            out.u8(TAG_MEMBERSHIP);
            put_membership(&mut out, membership);
            out.finish()
        }
    }
}

pub(crate) fn decode(bytes: Bytes) -> Result<Payload, DecodeError> {
    let mut reader = Reader::new("log entry", &bytes);
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

/// Set in the first word of a membership, beside the count of its configs, if each node carries a
/// flag that says whether it is to be a learner. A membership without learners has no flags, and
/// the format of the days before there were any.
const WITH_LEARNERS: u32 = 1 << 31;

pub(crate) fn put_membership(out: &mut Writer, membership: &Membership) {
    let mut configs = &membership.get_joint_config()[..];
    if detcd_core::mutant!(ConfigSwap) {
        configs = &configs[configs.len().saturating_sub(1)..];
    }
    let with_learners = membership.nodes().any(|(_, peer)| peer.learner);
    let count = u32::try_from(configs.len()).expect("a membership has one or two configs");
    out.u32_be(if with_learners {
        count | WITH_LEARNERS
    } else {
        count
    });
    for config in configs {
        out.count_be(config.len());
        for id in config {
            out.u64_be(*id);
        }
    }
    let nodes: Vec<(&u64, &Peer)> = membership.nodes().collect();
    out.count_be(nodes.len());
    for (id, peer) in nodes {
        out.u64_be(*id);
        out.bytes_be(peer.name.as_bytes());
        out.count_be(peer.peer_urls.len());
        for url in &peer.peer_urls {
            out.bytes_be(url.as_bytes());
        }
        if with_learners {
            out.flag(peer.learner);
        }
    }
}

pub(crate) fn read_membership(reader: &mut Reader<'_>) -> Result<Membership, DecodeError> {
    let mut configs = Vec::new();
    let first = reader.u32_be()?;
    let with_learners = first & WITH_LEARNERS != 0;
    let count = first & !WITH_LEARNERS;
    if count > 2 {
        return Err(reader.error(format!("a membership of {count} configs")));
    }
    for _ in 0..count {
        let mut config = BTreeSet::new();
        for _ in 0..reader.count_be(8)? {
            config.insert(reader.u64_be()?);
        }
        configs.push(config);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..reader.count_be(16)? {
        let id = reader.u64_be()?;
        let name = reader.string_be()?;
        let mut peer_urls = Vec::new();
        for _ in 0..reader.count_be(4)? {
            peer_urls.push(reader.string_be()?);
        }
        let learner = with_learners && reader.flag()?;
        let peer = Peer {
            name,
            peer_urls,
            learner,
        };
        nodes.insert(id, peer);
    }
    if configs.is_empty() && nodes.is_empty() {
        // The membership of a member that knows of none yet; `new` takes only usable ones.
        return Ok(Membership::default());
    }
    Membership::new(configs, nodes).map_err(|error| reader.error(error.to_string()))
}
