//! What a command of another member must be before it enters the log.
//!
//! A client's request is validated where it arrives. A command that comes over the peer port may be
//! forged, or come from a damaged member: it is decoded whole and validated again, because an entry
//! that no member can apply stops every member at every start. Limits that an operator sets are the
//! sender's business: members may differ in them.

use crate::api::{LeaseId, MemberId};
use crate::codec::decode_command;
use crate::command::{Command, Proposal};
use crate::error::Error;
use crate::limits::LEASE_TTL_MAX;
use crate::validate::{self, Limits};
use crate::view::Fault;
use bytes::Bytes;
use thiserror::Error as ThisError;

/// The longest command that a member takes from another one: it must fit into one message.
pub const COMMAND_BYTES_MAX: usize = 100 * 1024 * 1024;

/// The limits that hold whatever an operator sets.
const LIMITS: Limits = Limits {
    request_bytes_max: COMMAND_BYTES_MAX,
    txn_ops_max: usize::MAX,
};

/// Why another member's command does not enter the log.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum Refusal {
    #[error("a proposal of member {0}, sent by another member")]
    Origin(MemberId),
    #[error("an unreadable command: {0}")]
    Unreadable(Fault),
    #[error("an invalid command: {0}")]
    Invalid(Error),
    #[error("a command that publishes member {0}, proposed by another member")]
    Publishes(MemberId),
}

/// Checks what member `from` proposes: it speaks for itself alone.
pub fn check(from: MemberId, proposal: &Proposal) -> Result<(), Refusal> {
    if proposal.origin != from {
        return Err(Refusal::Origin(proposal.origin));
    }
    match command(&proposal.command)? {
        Command::MemberPublish { id, .. } if id != from => Err(Refusal::Publishes(id)),
        _ => Ok(()),
    }
}

/// The command in these bytes, if it can be applied.
pub fn command(bytes: &Bytes) -> Result<Command, Refusal> {
    validate::command_size(bytes, &LIMITS).map_err(Refusal::Invalid)?;
    let command = decode_command(bytes).map_err(Refusal::Unreadable)?;
    match &command {
        Command::Put(put) => validate::put(put),
        Command::DeleteRange(delete) => validate::delete_range(delete),
        Command::Txn(txn) => validate::txn(txn, &LIMITS),
        Command::LeaseGrant { id, ttl } => lease_grant(*id, *ttl),
        Command::V2(write) => validate::v2_path(&write.path),
        Command::Compact(_)
        | Command::LeaseRevoke { .. }
        | Command::MemberPublish { .. }
        | Command::AlarmRaise(_)
        | Command::AlarmDisarm(_)
        | Command::Downgrade(_)
        | Command::V2Expire { .. }
        | Command::V2Auth(_)
        | Command::Auth(_) => Ok(()),
    }
    .map_err(Refusal::Invalid)?;
    Ok(command)
}

fn lease_grant(id: LeaseId, ttl: i64) -> Result<(), Error> {
    if id == LeaseId::NONE || ttl < 1 {
        return Err(Error::Malformed("lease grant"));
    }
    match ttl > LEASE_TTL_MAX {
        true => Err(Error::LeaseTtlTooLarge),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DeleteRangeRequest, KeyRange, Op, PutRequest, TxnRequest};
    use crate::codec::encode_command;
    use alloc::string::String;
    use alloc::vec;

    const FROM: MemberId = MemberId(7);

    fn put(key: &'static [u8]) -> PutRequest {
        PutRequest {
            key: Bytes::from_static(key),
            ..PutRequest::default()
        }
    }

    fn proposed(origin: MemberId, command: &Command) -> Result<(), Refusal> {
        let proposal = Proposal {
            origin,
            seq: 1,
            command: encode_command(command),
        };
        check(FROM, &proposal)
    }

    #[test]
    fn what_members_propose_is_taken() {
        let txn = TxnRequest {
            success: vec![Op::Put(put(b"a")), Op::Put(put(b"b"))],
            ..TxnRequest::default()
        };
        let publish = Command::MemberPublish {
            id: FROM,
            name: String::from("n"),
            client_urls: vec![],
            log: Some(7),
        };
        let id = LeaseId(-1);
        let commands = [
            Command::Put(put(b"a")),
            Command::Txn(txn),
            Command::LeaseGrant { id, ttl: 1 },
            Command::LeaseRevoke { id },
            publish,
        ];
        for command in commands {
            assert_eq!(proposed(FROM, &command), Ok(()), "{command:?}");
        }
    }

    #[test]
    fn a_member_proposes_for_itself_alone() {
        let other = MemberId(8);
        let refused = proposed(other, &Command::Put(put(b"a")));
        assert_eq!(refused, Err(Refusal::Origin(other)));
        let publish = Command::MemberPublish {
            id: other,
            name: String::new(),
            client_urls: vec![],
            log: None,
        };
        assert_eq!(proposed(FROM, &publish), Err(Refusal::Publishes(other)));
    }

    #[test]
    fn garbage_is_refused() {
        for bytes in [&b""[..], b"\xff no command", b"\x01", b"\x01\x63"] {
            let refused = command(&Bytes::copy_from_slice(bytes));
            assert!(
                matches!(refused, Err(Refusal::Unreadable(_))),
                "{refused:?}"
            );
        }
        let mut trailing = encode_command(&Command::Put(put(b"a"))).to_vec();
        trailing.push(0);
        let refused = command(&Bytes::from(trailing));
        assert!(
            matches!(refused, Err(Refusal::Unreadable(_))),
            "{refused:?}"
        );
    }

    #[test]
    fn what_no_client_may_ask_for_is_refused() {
        let empty = KeyRange::One(Bytes::new());
        let delete = DeleteRangeRequest {
            range: empty,
            prev_kv: false,
        };
        let twice = TxnRequest {
            success: vec![Op::Put(put(b"a")), Op::Put(put(b"a"))],
            ..TxnRequest::default()
        };
        let id = LeaseId(1);
        let ttl = LEASE_TTL_MAX + 1;
        let refused = [
            (Command::Put(put(b"")), Error::EmptyKey),
            (Command::DeleteRange(delete), Error::EmptyKey),
            (Command::Txn(twice), Error::DuplicateKey),
            (Command::LeaseGrant { id, ttl }, Error::LeaseTtlTooLarge),
            (
                Command::LeaseGrant { id, ttl: 0 },
                Error::Malformed("lease grant"),
            ),
        ];
        for (command, error) in refused {
            assert_eq!(proposed(FROM, &command), Err(Refusal::Invalid(error)));
        }
    }
}
