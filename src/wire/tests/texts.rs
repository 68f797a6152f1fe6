//! The texts that clients match on, checked against the contract's list.

use crate::status::{Code, status};
use detcd_core::error::Error;

/// etcd's texts by code, without the prefix.
const ETCD: &[(Code, &[&str])] = &[
    (
        Code::InvalidArgument,
        &[
            "key is not provided",
            "key not found",
            "value is provided",
            "lease is provided",
            "too many operations in txn request",
            "duplicate key given in txn request",
            "invalid sort option",
            "request is too large",
            "given member URLs are invalid",
            "user name is empty",
            "role name is empty",
            "authentication failed, invalid user ID or password",
            "permission not given",
            "invalid auth management",
            "revision of auth store is old",
            "wrong downgrade target version format",
            "invalid downgrade target version",
        ],
    ),
    (
        Code::NotFound,
        &["requested lease not found", "member not found"],
    ),
    (
        Code::ResourceExhausted,
        &["mvcc: database space exceeded", "too many requests"],
    ),
    (
        Code::FailedPrecondition,
        &[
            "lease already exists",
            "not leader",
            "member ID already exist",
            "Peer URLs already exists",
            "re-configuration failed due to not enough started members",
            "can only promote a learner member",
            "can only promote a learner member which is in sync with leader",
            "too many learner members in cluster",
            "bad leader transferee",
            "root user does not exist",
            "root user does not have root role",
            "user name already exists",
            "user name not found",
            "role name already exists",
            "role name not found",
            "role is not granted to the user",
            "permission is not granted to the role",
            "authentication is not enabled",
            "cluster has a downgrade job in progress",
            "no inflight downgrade job",
        ],
    ),
    (
        Code::OutOfRange,
        &[
            "mvcc: required revision has been compacted",
            "mvcc: required revision is a future revision",
            "too large lease TTL",
        ],
    ),
    (
        Code::Unavailable,
        &[
            "no leader",
            "leader changed",
            "server stopped",
            "request timed out",
            "request timed out, possibly due to previous leader failure",
            "request timed out, possibly due to connection lost",
            "request timed out, waiting for the applied index took too long",
            "unhealthy cluster",
            "rpc not supported for learner",
        ],
    ),
    (
        Code::Unknown,
        &["request timed out, leader transfer took too long"],
    ),
    (Code::DataLoss, &["corrupt cluster"]),
    (Code::PermissionDenied, &["permission denied"]),
    (Code::Unauthenticated, &["invalid auth token"]),
];

#[test]
fn every_error_reads_as_etcd_writes_it() {
    let errors = [
        Error::EmptyKey,
        Error::KeyNotFound,
        Error::ValueProvided,
        Error::LeaseProvided,
        Error::TooManyOps,
        Error::DuplicateKey,
        Error::InvalidSortOption,
        Error::RequestTooLarge,
        Error::Compacted,
        Error::FutureRevision,
        Error::NoSpace,
        Error::LeaseTtlTooLarge,
        Error::LeaseNotFound,
        Error::LeaseExists,
        Error::MemberNotFound,
        Error::MemberExists,
        Error::PeerUrlExists,
        Error::MemberNotEnoughStarted,
        Error::MemberBadUrls,
        Error::MemberNotLearner,
        Error::LearnerNotReady,
        Error::TooManyLearners,
        Error::LearnerUnsupported,
        Error::BadTransferee,
        Error::Unhealthy,
        Error::WrongDowngradeFormat,
        Error::InvalidDowngradeTarget,
        Error::DowngradeInProcess,
        Error::NoInflightDowngrade,
        Error::TooManyRequests,
        Error::NoLeader,
        Error::NotLeader,
        Error::LeaderChanged,
        Error::Stopped,
        Error::Timeout,
        Error::TimeoutLeaderLost,
        Error::TimeoutConnectionLost,
        Error::TimeoutApply,
        Error::TimeoutLeaderTransfer,
        Error::Corrupt,
        Error::RootUserNotExist,
        Error::RootRoleNotExist,
        Error::UserExists,
        Error::UserEmpty,
        Error::UserNotFound,
        Error::RoleExists,
        Error::RoleNotFound,
        Error::RoleEmpty,
        Error::AuthFailed,
        Error::PermissionDenied,
        Error::RoleNotGranted,
        Error::PermissionNotGranted,
        Error::PermissionNotGiven,
        Error::AuthNotEnabled,
        Error::InvalidAuthToken,
        Error::InvalidAuthMgmt,
        Error::AuthOldRevision,
    ];
    let mut said: Vec<_> = errors.iter().map(status).collect();
    let mut listed: Vec<_> = ETCD
        .iter()
        .flat_map(|(code, texts)| {
            texts
                .iter()
                .map(|text| (*code, format!("etcdserver: {text}")))
        })
        .collect();
    said.sort();
    listed.sort();
    let listed: Vec<_> = listed
        .iter()
        .map(|(code, text)| (*code, &text[..]))
        .collect();
    assert_eq!(said, listed);
}

#[cfg(feature = "grpc")]
#[test]
fn codes_are_those_of_grpc() {
    let status = crate::status::grpc(&Error::Compacted);
    assert_eq!(status.code(), tonic::Code::OutOfRange);
    assert_eq!(
        status.message(),
        "etcdserver: mvcc: required revision has been compacted"
    );
    let status = crate::status::grpc(&Error::RangeStreamSort);
    assert_eq!(status.code(), tonic::Code::Unimplemented);
}
