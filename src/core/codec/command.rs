//! The bytes of commands and proposals.

use super::alarm_kind;
use crate::api::{
    Alarm, CompactRequest, Compare, CompareOp, CompareTarget, DeleteRangeRequest, KeyRange,
    LeaseId, MemberId, Op, PutRequest, RangeRequest, SortOrder, SortTarget, TxnRequest,
};
use crate::auth::{
    Principal, decode_auth_command, decode_principal, encode_auth_command, encode_principal,
};
use crate::command::{Command, Proposal};
use crate::encoding::{Reader, Writer};
use crate::limits::TXN_DEPTH_MAX;
use crate::v2;
use crate::view::Fault;
use alloc::vec::Vec;
use bytes::Bytes;

/// The version of the commands' format. Such a command is on nobody's behalf.
const COMMAND_FORMAT: u8 = 1;
/// As before, with the principal in front. It is written only where authentication is on.
const ASKED_COMMAND_FORMAT: u8 = 2;
/// The version of the proposals' format.
const PROPOSAL_FORMAT: u8 = 1;

mod tag {
    pub const PUT: u8 = 1;
    pub const DELETE_RANGE: u8 = 2;
    pub const TXN: u8 = 3;
    pub const COMPACT: u8 = 4;
    pub const LEASE_GRANT: u8 = 5;
    pub const LEASE_REVOKE: u8 = 6;
    pub const MEMBER_PUBLISH: u8 = 7;
    /// Only within transactions.
    pub const RANGE: u8 = 8;
    pub const ALARM_RAISE: u8 = 10;
    pub const ALARM_DISARM: u8 = 11;
    /// As `MEMBER_PUBLISH`, with the number of the raft log.
    pub const MEMBER_PUBLISH_LOG: u8 = 12;
    pub const V2: u8 = 13;
    pub const V2_EXPIRE: u8 = 14;
    pub const AUTH: u8 = 15;
    pub const DOWNGRADE: u8 = 16;
    pub const DOWNGRADE_CANCEL: u8 = 17;
    pub const V2_AUTH: u8 = 20;
    /// As `V2`, after who asks.
    pub const V2_ASKED: u8 = 21;
}

/// A proposal as a log entry's payload.
pub fn encode_proposal(proposal: &Proposal) -> Bytes {
    let mut out = Writer::with_capacity(17 + proposal.command.len());
    out.u8(PROPOSAL_FORMAT);
    out.u64_be(proposal.origin.0);
    out.u64_be(proposal.seq);
    out.slice(&proposal.command);
    out.finish()
}

/// Reads a log entry's payload; the command is a slice of it.
pub fn decode_proposal(payload: &Bytes) -> Result<Proposal, Fault> {
    let mut reader = Reader::new("proposal", payload);
    reader.version(PROPOSAL_FORMAT)?;
    let origin = MemberId(reader.u64_be()?);
    let seq = reader.u64_be()?;
    Ok(Proposal {
        origin,
        seq,
        command: reader.rest(),
    })
}

/// A command on nobody's behalf.
pub fn encode_command(command: &Command) -> Bytes {
    encode_asked(&Principal::Anonymous, command)
}

/// A command, and on whose behalf it is to be applied.
pub fn encode_asked(principal: &Principal, command: &Command) -> Bytes {
    let mut out = Writer::with_capacity(size_hint(command) + principal_size_hint(principal));
    match principal {
        Principal::Anonymous => out.u8(COMMAND_FORMAT),
        principal => {
            out.u8(ASKED_COMMAND_FORMAT);
            encode_principal(&mut out, principal);
        }
    }
    encode_body(&mut out, command);
    out.finish()
}

fn encode_body(out: &mut Writer, command: &Command) {
    match command {
        Command::Put(put) => encode_put(out, put),
        Command::DeleteRange(delete) => encode_delete(out, delete),
        Command::Txn(txn) => encode_txn(out, txn),
        Command::Compact(compact) => {
            out.u8(tag::COMPACT);
            out.i64(compact.revision);
            out.flag(compact.physical);
        }
        Command::LeaseGrant { id, ttl } => {
            out.u8(tag::LEASE_GRANT);
            out.i64(id.0);
            out.i64(*ttl);
        }
        Command::LeaseRevoke { id } => {
            out.u8(tag::LEASE_REVOKE);
            out.i64(id.0);
        }
        Command::MemberPublish {
            id,
            name,
            client_urls,
            log,
        } => {
            out.u8(match log {
                Some(_) => tag::MEMBER_PUBLISH_LOG,
                None => tag::MEMBER_PUBLISH,
            });
            out.varint(id.0);
            out.bytes(name.as_bytes());
            out.strings(client_urls);
            if let Some(log) = log {
                out.varint(*log);
            }
        }
        Command::AlarmRaise(alarm) => encode_alarm(out, tag::ALARM_RAISE, *alarm),
        Command::AlarmDisarm(alarm) => encode_alarm(out, tag::ALARM_DISARM, *alarm),
        Command::Downgrade(Some(target)) => {
            out.u8(tag::DOWNGRADE);
            out.bytes(target.as_bytes());
        }
        Command::Downgrade(None) => out.u8(tag::DOWNGRADE_CANCEL),
        Command::V2(write) => {
            out.u8(match write.asked {
                Some(_) => tag::V2_ASKED,
                None => tag::V2,
            });
            v2::encode_write(out, write);
        }
        Command::V2Expire { id } => {
            out.u8(tag::V2_EXPIRE);
            out.varint(*id);
        }
        Command::V2Auth(write) => {
            out.u8(tag::V2_AUTH);
            v2::auth::encode_auth_write(out, write);
        }
        Command::Auth(command) => {
            out.u8(tag::AUTH);
            encode_auth_command(out, command);
        }
    }
}

fn principal_size_hint(principal: &Principal) -> usize {
    match principal {
        Principal::User(info) => 16 + info.user.len(),
        Principal::Anonymous | Principal::Member => 1,
    }
}

// Enough for a put to the byte, so that the common command is one allocation of the right size.
fn size_hint(command: &Command) -> usize {
    match command {
        Command::Put(put) => 24 + put.key.len() + put.value.len(),
        Command::Txn(_) => 512,
        Command::V2(write) => 48 + write.path.len() + write.value.len() + write.prev_value.len(),
        _ => 64,
    }
}

/// Reads a command; its keys and values are slices of `bytes`.
pub fn decode_command(bytes: &Bytes) -> Result<Command, Fault> {
    Ok(decode_asked(bytes)?.1)
}

/// Reads on whose behalf a command is, and the command as [`decode_command`] does.
pub fn decode_asked(bytes: &Bytes) -> Result<(Principal, Command), Fault> {
    let mut reader = Reader::new("command", bytes);
    let principal = match bytes.first() {
        Some(&ASKED_COMMAND_FORMAT) => {
            reader.version(ASKED_COMMAND_FORMAT)?;
            decode_principal(&mut reader)?
        }
        _ => {
            reader.version(COMMAND_FORMAT)?;
            Principal::Anonymous
        }
    };
    let command = decode_body(&mut reader)?;
    reader.end()?;
    Ok((principal, command))
}

fn decode_body(reader: &mut Reader<'_>) -> Result<Command, Fault> {
    let command = match reader.u8()? {
        tag::PUT => Command::Put(decode_put(reader)?),
        tag::DELETE_RANGE => Command::DeleteRange(decode_delete(reader)?),
        tag::TXN => Command::Txn(decode_txn(reader, 1)?),
        tag::COMPACT => Command::Compact(CompactRequest {
            revision: reader.i64()?,
            physical: reader.flag()?,
        }),
        tag::LEASE_GRANT => Command::LeaseGrant {
            id: LeaseId(reader.i64()?),
            ttl: reader.i64()?,
        },
        tag::LEASE_REVOKE => Command::LeaseRevoke {
            id: LeaseId(reader.i64()?),
        },
        tag::MEMBER_PUBLISH => Command::MemberPublish {
            id: MemberId(reader.varint()?),
            name: reader.string()?,
            client_urls: reader.strings()?,
            log: None,
        },
        tag::MEMBER_PUBLISH_LOG => Command::MemberPublish {
            id: MemberId(reader.varint()?),
            name: reader.string()?,
            client_urls: reader.strings()?,
            log: Some(reader.varint()?),
        },
        tag::ALARM_RAISE => Command::AlarmRaise(decode_alarm(reader)?),
        tag::ALARM_DISARM => Command::AlarmDisarm(decode_alarm(reader)?),
        tag::DOWNGRADE => Command::Downgrade(Some(reader.string()?)),
        tag::DOWNGRADE_CANCEL => Command::Downgrade(None),
        tag::V2 => Command::V2(v2::decode_write(reader, false)?),
        tag::V2_ASKED => Command::V2(v2::decode_write(reader, true)?),
        tag::V2_AUTH => Command::V2Auth(v2::auth::decode_auth_write(reader)?),
        tag::V2_EXPIRE => Command::V2Expire {
            id: reader.varint()?,
        },
        tag::AUTH => Command::Auth(decode_auth_command(reader)?),
        _ => return Err(reader.error("unknown command").into()),
    };
    Ok(command)
}

fn encode_alarm(out: &mut Writer, tag: u8, alarm: Alarm) {
    out.u8(tag);
    out.varint(alarm.member.0);
    out.u8(alarm.kind as u8);
}

fn decode_alarm(reader: &mut Reader<'_>) -> Result<Alarm, Fault> {
    Ok(Alarm {
        member: MemberId(reader.varint()?),
        kind: alarm_kind(reader.u8()?).ok_or_else(|| reader.error("unknown alarm"))?,
    })
}

fn flags(bits: &[bool]) -> u8 {
    bits.iter()
        .enumerate()
        .fold(0, |flags, (at, bit)| flags | u8::from(*bit) << at)
}

/// The lowest `N` bits of a byte that must have no others.
fn decode_flags<const N: usize>(reader: &mut Reader<'_>) -> Result<[bool; N], Fault> {
    let byte = reader.u8()?;
    if byte >> N != 0 {
        return Err(reader.error("unknown flags").into());
    }
    Ok(core::array::from_fn(|at| byte >> at & 1 == 1))
}

pub(crate) fn encode_key_range(out: &mut Writer, range: &KeyRange) {
    match range {
        KeyRange::One(key) => {
            out.u8(0);
            out.bytes(key);
        }
        KeyRange::Span {
            start,
            end: Some(end),
        } => {
            out.u8(1);
            out.bytes(start);
            out.bytes(end);
        }
        KeyRange::Span { start, end: None } => {
            out.u8(2);
            out.bytes(start);
        }
    }
}

pub(crate) fn decode_key_range(reader: &mut Reader<'_>) -> Result<KeyRange, Fault> {
    Ok(match reader.u8()? {
        0 => KeyRange::One(reader.bytes()?),
        1 => KeyRange::Span {
            start: reader.bytes()?,
            end: Some(reader.bytes()?),
        },
        2 => KeyRange::Span {
            start: reader.bytes()?,
            end: None,
        },
        _ => return Err(reader.error("unknown kind of range").into()),
    })
}

fn encode_put(out: &mut Writer, put: &PutRequest) {
    out.u8(tag::PUT);
    out.u8(flags(&[put.prev_kv, put.ignore_value, put.ignore_lease]));
    out.i64(put.lease.0);
    out.bytes(&put.key);
    out.bytes(&put.value);
}

fn decode_put(reader: &mut Reader<'_>) -> Result<PutRequest, Fault> {
    let [prev_kv, ignore_value, ignore_lease] = decode_flags(reader)?;
    let lease = LeaseId(reader.i64()?);
    let key = reader.bytes()?;
    let value = reader.bytes()?;
    Ok(PutRequest {
        key,
        value,
        lease,
        prev_kv,
        ignore_value,
        ignore_lease,
    })
}

fn encode_delete(out: &mut Writer, delete: &DeleteRangeRequest) {
    out.u8(tag::DELETE_RANGE);
    out.u8(flags(&[delete.prev_kv]));
    encode_key_range(out, &delete.range);
}

fn decode_delete(reader: &mut Reader<'_>) -> Result<DeleteRangeRequest, Fault> {
    let [prev_kv] = decode_flags(reader)?;
    Ok(DeleteRangeRequest {
        range: decode_key_range(reader)?,
        prev_kv,
    })
}

fn encode_range(out: &mut Writer, range: &RangeRequest) {
    out.u8(tag::RANGE);
    out.u8(flags(&[
        range.serializable,
        range.keys_only,
        range.count_only,
    ]));
    encode_key_range(out, &range.range);
    out.u8(match range.sort_order {
        SortOrder::None => 0,
        SortOrder::Ascend => 1,
        SortOrder::Descend => 2,
    });
    out.u8(match range.sort_target {
        SortTarget::Key => 0,
        SortTarget::Version => 1,
        SortTarget::Create => 2,
        SortTarget::Mod => 3,
        SortTarget::Value => 4,
    });
    for n in [
        range.limit,
        range.revision,
        range.min_mod_revision,
        range.max_mod_revision,
        range.min_create_revision,
        range.max_create_revision,
    ] {
        out.i64(n);
    }
}

fn decode_range(reader: &mut Reader<'_>) -> Result<RangeRequest, Fault> {
    let [serializable, keys_only, count_only] = decode_flags(reader)?;
    let range = decode_key_range(reader)?;
    let sort_order = match reader.u8()? {
        0 => SortOrder::None,
        1 => SortOrder::Ascend,
        2 => SortOrder::Descend,
        _ => return Err(reader.error("unknown sort order").into()),
    };
    let sort_target = match reader.u8()? {
        0 => SortTarget::Key,
        1 => SortTarget::Version,
        2 => SortTarget::Create,
        3 => SortTarget::Mod,
        4 => SortTarget::Value,
        _ => return Err(reader.error("unknown sort target").into()),
    };
    Ok(RangeRequest {
        range,
        limit: reader.i64()?,
        revision: reader.i64()?,
        sort_order,
        sort_target,
        serializable,
        keys_only,
        count_only,
        min_mod_revision: reader.i64()?,
        max_mod_revision: reader.i64()?,
        min_create_revision: reader.i64()?,
        max_create_revision: reader.i64()?,
    })
}

fn encode_txn(out: &mut Writer, txn: &TxnRequest) {
    out.u8(tag::TXN);
    out.count(txn.compare.len());
    for compare in &txn.compare {
        encode_compare(out, compare);
    }
    for ops in [&txn.success, &txn.failure] {
        out.count(ops.len());
        for op in ops {
            match op {
                Op::Range(range) => encode_range(out, range),
                Op::Put(put) => encode_put(out, put),
                Op::DeleteRange(delete) => encode_delete(out, delete),
                Op::Txn(txn) => encode_txn(out, txn),
            }
        }
    }
}

fn decode_txn(reader: &mut Reader<'_>, depth: usize) -> Result<TxnRequest, Fault> {
    if depth > TXN_DEPTH_MAX {
        return Err(reader.error("transactions nested too deep").into());
    }
    let compare = (0..reader.count()?)
        .map(|_| decode_compare(reader))
        .collect::<Result<_, _>>()?;
    let success = decode_ops(reader, depth)?;
    let failure = decode_ops(reader, depth)?;
    Ok(TxnRequest {
        compare,
        success,
        failure,
    })
}

fn decode_ops(reader: &mut Reader<'_>, depth: usize) -> Result<Vec<Op>, Fault> {
    (0..reader.count()?)
        .map(|_| {
            Ok(match reader.u8()? {
                tag::RANGE => Op::Range(decode_range(reader)?),
                tag::PUT => Op::Put(decode_put(reader)?),
                tag::DELETE_RANGE => Op::DeleteRange(decode_delete(reader)?),
                tag::TXN => Op::Txn(decode_txn(reader, depth + 1)?),
                _ => return Err(reader.error("unknown operation").into()),
            })
        })
        .collect()
}

fn encode_compare(out: &mut Writer, compare: &Compare) {
    out.u8(match compare.op {
        CompareOp::Equal => 0,
        CompareOp::Greater => 1,
        CompareOp::Less => 2,
        CompareOp::NotEqual => 3,
    });
    encode_key_range(out, &compare.range);
    let (tag, number) = match &compare.target {
        CompareTarget::Version(n) => (0, *n),
        CompareTarget::Create(n) => (1, *n),
        CompareTarget::Mod(n) => (2, *n),
        CompareTarget::Lease(lease) => (4, lease.0),
        CompareTarget::Value(value) => {
            out.u8(3);
            return out.bytes(value);
        }
    };
    out.u8(tag);
    out.i64(number);
}

fn decode_compare(reader: &mut Reader<'_>) -> Result<Compare, Fault> {
    let op = match reader.u8()? {
        0 => CompareOp::Equal,
        1 => CompareOp::Greater,
        2 => CompareOp::Less,
        3 => CompareOp::NotEqual,
        _ => return Err(reader.error("unknown comparison").into()),
    };
    let range = decode_key_range(reader)?;
    let target = match reader.u8()? {
        0 => CompareTarget::Version(reader.i64()?),
        1 => CompareTarget::Create(reader.i64()?),
        2 => CompareTarget::Mod(reader.i64()?),
        3 => CompareTarget::Value(reader.bytes()?),
        4 => CompareTarget::Lease(LeaseId(reader.i64()?)),
        _ => return Err(reader.error("unknown target of a comparison").into()),
    };
    Ok(Compare { range, op, target })
}
