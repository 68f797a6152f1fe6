//! What enters the log. Whatever is not a function of the log (lease ids, times) is settled before
//! a command is proposed and stands in it.

use crate::api::{
    Alarm, CompactRequest, DeleteRangeRequest, LeaseId, MemberId, PutRequest, TxnRequest,
};
use crate::auth::AuthCommand;
use crate::v2;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// A change of the replicated state, validated before it is proposed; what depends on the state is
/// checked again at apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactRequest),
    /// `id` is never zero here.
    LeaseGrant {
        id: LeaseId,
        ttl: i64,
    },
    LeaseRevoke {
        id: LeaseId,
    },
    /// A member tells its name and client URLs once it takes part, and the number of its raft log
    /// (`None`: written by a build that published none).
    MemberPublish {
        id: MemberId,
        name: String,
        client_urls: Vec<String>,
        log: Option<u64>,
    },
    /// Raises an alarm; one that is raised already stays so.
    AlarmRaise(Alarm),
    AlarmDisarm(Alarm),
    /// Announces a downgrade to a version, or calls it off.
    Downgrade(Option<String>),
    V2(v2::Write),
    /// A time-to-live of v2, named by its index, is over.
    V2Expire {
        id: u64,
    },
    /// A change of v2's users and roles.
    V2Auth(v2::auth::AuthWrite),
    /// A change of users and roles, or a user who authenticates.
    Auth(AuthCommand),
}

/// A command on its way into the log, and who waits for its outcome.
///
/// `origin` and `seq` name the request among all members and restarts: every member applies the
/// entry, and the one that is `origin` answers request `seq` from its own apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub origin: MemberId,
    pub seq: u64,
    /// The encoded [`Command`] and on whose behalf it is: encoded once, where the request arrived.
    pub command: Bytes,
}
