//! The bytes of raft's messages. Each starts with a format version.
//!
//! Log entries are written one after the other as (term, payload length, payload): their indexes
//! follow from the entry before. Decoded payloads share the message's bytes.

use crate::payload;
use crate::types::{LogId, Types, Vote, log_id, term_of};
use bytes::Bytes;
use detcd_core::encoding::{DecodeError, Reader, Writer};
use detcd_peer::Kind;
use openraft::entry::RaftEntry;

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

const VERSION: u8 = 1;
/// Since 2 an append says what its receiver has acknowledged.
const APPEND_VERSION: u8 = 2;

/// Bytes of an entry beside its payload.
const ENTRY_OVERHEAD: usize = 8 + 4;

/// The longest append-entries request without entries: version, vote, two log ids, what was
/// acknowledged and the count.
const HEARTBEAT_BYTES_MAX: usize = 1 + 17 + 17 + 17 + 8 + 4;

/// Whether a message carries no entries, so that its peer answers at once and not after a sync.
pub fn is_heartbeat(kind: Kind, body: &Bytes) -> bool {
    kind == Kind::AppendEntries && body.len() <= HEARTBEAT_BYTES_MAX
}

/// `acknowledged`: the index after the last entry that the receiver has acknowledged.
pub(crate) fn encode_append(request: &AppendEntriesRequest<Types>, acknowledged: u64) -> Bytes {
    let payloads: Vec<Bytes> = request
        .entries
        .iter()
        .map(|entry| payload::encode(&entry.payload))
        .collect();
    let entries_bytes: usize = payloads
        .iter()
        .map(|bytes| ENTRY_OVERHEAD + bytes.len())
        .sum();
    let mut out = Writer::with_capacity(64 + entries_bytes);
    out.u8(APPEND_VERSION);
    put_vote(&mut out, &request.vote);
    put_log_id(&mut out, request.prev_log_id.as_ref());
    put_log_id(&mut out, request.leader_commit.as_ref());
    out.u64_be(acknowledged);
    out.count_be(payloads.len());
    if let Some(first) = request.entries.first() {
        out.u64_be(first.index());
    }
    for (entry, bytes) in request.entries.iter().zip(&payloads) {
        out.u64_be(term_of(&entry.log_id));
        out.bytes_be(bytes);
    }
    out.finish()
}

pub(crate) fn decode_append(
    bytes: Bytes,
) -> Result<(AppendEntriesRequest<Types>, u64), DecodeError> {
    let mut reader = Reader::new("append-entries request", &bytes);
    reader.version(APPEND_VERSION)?;
    let vote = read_vote(&mut reader)?;
    let prev_log_id = read_log_id(&mut reader)?;
    let leader_commit = read_log_id(&mut reader)?;
    let acknowledged = reader.u64_be()?;
    let count = reader.count_be(ENTRY_OVERHEAD)?;
    let mut entries = Vec::with_capacity(count);
    let first = if count > 0 { reader.u64_be()? } else { 0 };
    let next = prev_log_id.map_or(Some(0), |prev| prev.index().checked_add(1));
    let end = first.checked_add(count as u64);
    let (Some(end), true) = (end, count == 0 || next == Some(first)) else {
        return Err(reader.error(format!(
            "entries from {first} do not follow {prev_log_id:?}"
        )));
    };
    for index in first..end {
        let term = reader.u64_be()?;
        entries.push(payload::decode_entry(term, index, reader.bytes_be()?)?);
    }
    reader.end()?;
    let request = AppendEntriesRequest {
        vote,
        prev_log_id,
        entries,
        leader_commit,
    };
    Ok((request, acknowledged))
}

pub(crate) fn encode_append_response(response: &AppendEntriesResponse<Types>) -> Bytes {
    let mut out = Writer::with_capacity(32);
    out.u8(VERSION);
    match response {
        AppendEntriesResponse::Success => out.u8(1),
        AppendEntriesResponse::PartialSuccess(matching) => {
            out.u8(2);
            put_log_id(&mut out, matching.as_ref());
        }
        AppendEntriesResponse::Conflict => out.u8(3),
        AppendEntriesResponse::HigherVote(vote) => {
            out.u8(4);
            put_vote(&mut out, vote);
        }
    }
    out.finish()
}

pub(crate) fn decode_append_response(
    bytes: Bytes,
) -> Result<AppendEntriesResponse<Types>, DecodeError> {
    let mut reader = Reader::new("append-entries response", &bytes);
    reader.version(VERSION)?;
    let response = match reader.u8()? {
        1 => AppendEntriesResponse::Success,
        2 => AppendEntriesResponse::PartialSuccess(read_log_id(&mut reader)?),
        3 => AppendEntriesResponse::Conflict,
        4 => AppendEntriesResponse::HigherVote(read_vote(&mut reader)?),
        tag => return Err(reader.error(format!("unknown answer {tag}"))),
    };
    reader.end()?;
    Ok(response)
}

pub(crate) fn encode_vote_request(request: &VoteRequest<Types>) -> Bytes {
    let mut out = Writer::with_capacity(48);
    out.u8(VERSION);
    put_vote(&mut out, &request.vote);
    put_log_id(&mut out, request.last_log_id.as_ref());
    out.flag(request.leadership_transfer);
    out.finish()
}

pub(crate) fn decode_vote_request(bytes: Bytes) -> Result<VoteRequest<Types>, DecodeError> {
    let mut reader = Reader::new("vote request", &bytes);
    reader.version(VERSION)?;
    let vote = read_vote(&mut reader)?;
    let last_log_id = read_log_id(&mut reader)?;
    let leadership_transfer = reader.flag()?;
    reader.end()?;
    Ok(VoteRequest {
        vote,
        last_log_id,
        leadership_transfer,
    })
}

pub(crate) fn encode_vote_response(response: &VoteResponse<Types>) -> Bytes {
    let mut out = Writer::with_capacity(48);
    out.u8(VERSION);
    put_vote(&mut out, &response.vote);
    out.flag(response.vote_granted);
    put_log_id(&mut out, response.last_log_id.as_ref());
    out.finish()
}

pub(crate) fn decode_vote_response(bytes: Bytes) -> Result<VoteResponse<Types>, DecodeError> {
    let mut reader = Reader::new("vote response", &bytes);
    reader.version(VERSION)?;
    let vote = read_vote(&mut reader)?;
    let vote_granted = reader.flag()?;
    let last_log_id = read_log_id(&mut reader)?;
    reader.end()?;
    Ok(VoteResponse {
        vote,
        vote_granted,
        last_log_id,
    })
}

pub(crate) fn encode_transfer(request: &TransferLeaderRequest<Types>) -> Bytes {
    let mut out = Writer::with_capacity(48);
    out.u8(VERSION);
    put_vote(&mut out, request.from_leader());
    out.u64_be(*request.to_node_id());
    put_log_id(&mut out, request.last_log_id());
    out.finish()
}

pub(crate) fn decode_transfer(bytes: Bytes) -> Result<TransferLeaderRequest<Types>, DecodeError> {
    let mut reader = Reader::new("transfer-leader request", &bytes);
    reader.version(VERSION)?;
    let from = read_vote(&mut reader)?;
    let to = reader.u64_be()?;
    let last_log_id = read_log_id(&mut reader)?;
    reader.end()?;
    Ok(TransferLeaderRequest::new(from, to, last_log_id))
}

pub(crate) fn encode_transfer_response(response: &TransferLeaderResponse<Types>) -> Bytes {
    let mut out = Writer::with_capacity(48);
    out.u8(VERSION);
    match response {
        Ok(()) => out.u8(1),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            out.u8(2);
            put_vote(&mut out, expected);
            put_vote(&mut out, actual);
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            out.u8(3);
            put_log_id(&mut out, expected.as_ref());
            put_log_id(&mut out, actual.as_ref());
        }
    }
    out.finish()
}

pub(crate) fn decode_transfer_response(
    bytes: Bytes,
) -> Result<TransferLeaderResponse<Types>, DecodeError> {
    let mut reader = Reader::new("transfer-leader response", &bytes);
    reader.version(VERSION)?;
    let response = match reader.u8()? {
        1 => Ok(()),
        2 => Err(TransferLeaderError::VoteChanged {
            expected: read_vote(&mut reader)?,
            actual: read_vote(&mut reader)?,
        }),
        3 => Err(TransferLeaderError::LogNotFlushed {
            expected: read_log_id(&mut reader)?,
            actual: read_log_id(&mut reader)?,
        }),
        tag => return Err(reader.error(format!("unknown answer {tag}"))),
    };
    reader.end()?;
    Ok(response)
}

/// What a leader answers to one that asks what it has acknowledged: the index after the last entry.
pub(crate) fn encode_acknowledged(next: u64) -> Bytes {
    let mut out = Writer::with_capacity(9);
    out.u8(VERSION);
    out.u64_be(next);
    out.finish()
}

pub(crate) fn decode_acknowledged(bytes: Bytes) -> Result<u64, DecodeError> {
    let mut reader = Reader::new("acknowledged index", &bytes);
    reader.version(VERSION)?;
    let next = reader.u64_be()?;
    reader.end()?;
    Ok(next)
}

/// The bytes of a vote on its own, as the vote file keeps it.
pub(crate) fn encode_vote(vote: &Vote) -> Bytes {
    let mut out = Writer::with_capacity(18);
    out.u8(VERSION);
    put_vote(&mut out, vote);
    out.finish()
}

pub(crate) fn decode_vote(bytes: Bytes) -> Result<Vote, DecodeError> {
    let mut reader = Reader::new("vote", &bytes);
    reader.version(VERSION)?;
    let vote = read_vote(&mut reader)?;
    reader.end()?;
    Ok(vote)
}

pub(crate) fn put_vote(out: &mut Writer, vote: &Vote) {
    out.u64_be(vote.leader_id().term);
    out.u64_be(vote.leader_id().voted_for);
    out.flag(vote.is_committed());
}

pub(crate) fn read_vote(reader: &mut Reader<'_>) -> Result<Vote, DecodeError> {
    let term = reader.u64_be()?;
    let node = reader.u64_be()?;
    Ok(if reader.flag()? {
        Vote::new_committed(term, node)
    } else {
        Vote::new(term, node)
    })
}

pub(crate) fn put_log_id(out: &mut Writer, log_id: Option<&LogId>) {
    out.flag(log_id.is_some());
    if let Some(log_id) = log_id {
        out.u64_be(term_of(log_id));
        out.u64_be(log_id.index());
    }
}

pub(crate) fn read_log_id(reader: &mut Reader<'_>) -> Result<Option<LogId>, DecodeError> {
    Ok(if reader.flag()? {
        Some(log_id(reader.u64_be()?, reader.u64_be()?))
    } else {
        None
    })
}
