//! The one table of what clients are told when a request fails: gRPC's code and etcd's exact text.
//! Clients of etcd match on the text, so the text is the contract.

use detcd_core::error::Error;

/// gRPC's status codes, as far as etcd uses them. The numbers are gRPC's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Code {
    Canceled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// How `error` reads to a client.
pub fn status(error: &Error) -> (Code, &'static str) {
    use Code::*;
    match error {
        Error::EmptyKey => (InvalidArgument, "etcdserver: key is not provided"),
        Error::KeyNotFound => (InvalidArgument, "etcdserver: key not found"),
        Error::ValueProvided => (InvalidArgument, "etcdserver: value is provided"),
        Error::LeaseProvided => (InvalidArgument, "etcdserver: lease is provided"),
        Error::TooManyOps => (
            InvalidArgument,
            "etcdserver: too many operations in txn request",
        ),
        Error::DuplicateKey => (
            InvalidArgument,
            "etcdserver: duplicate key given in txn request",
        ),
        Error::InvalidSortOption => (InvalidArgument, "etcdserver: invalid sort option"),
        Error::Malformed(what) => (InvalidArgument, what),
        Error::RequestTooLarge => (InvalidArgument, "etcdserver: request is too large"),
        Error::Compacted => (
            OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
        ),
        Error::FutureRevision => (
            OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
        ),
        Error::NoSpace => (
            ResourceExhausted,
            "etcdserver: mvcc: database space exceeded",
        ),
        Error::LeaseTtlTooLarge => (OutOfRange, "etcdserver: too large lease TTL"),
        Error::LeaseNotFound => (NotFound, "etcdserver: requested lease not found"),
        Error::LeaseExists => (FailedPrecondition, "etcdserver: lease already exists"),
        Error::MemberNotFound => (NotFound, "etcdserver: member not found"),
        Error::MemberExists => (FailedPrecondition, "etcdserver: member ID already exist"),
        Error::PeerUrlExists => (FailedPrecondition, "etcdserver: Peer URLs already exists"),
        Error::MemberNotEnoughStarted => (
            FailedPrecondition,
            "etcdserver: re-configuration failed due to not enough started members",
        ),
        Error::MemberBadUrls => (InvalidArgument, "etcdserver: given member URLs are invalid"),
        Error::MemberNotLearner => (
            FailedPrecondition,
            "etcdserver: can only promote a learner member",
        ),
        Error::LearnerNotReady => (
            FailedPrecondition,
            "etcdserver: can only promote a learner member which is in sync with leader",
        ),
        Error::TooManyLearners => (
            FailedPrecondition,
            "etcdserver: too many learner members in cluster",
        ),
        // Clients go on to the next endpoint.
        Error::LearnerUnsupported => (Unavailable, "etcdserver: rpc not supported for learner"),
        Error::BadTransferee => (FailedPrecondition, "etcdserver: bad leader transferee"),
        Error::Unhealthy => (Unavailable, "etcdserver: unhealthy cluster"),
        Error::WrongDowngradeFormat => (
            InvalidArgument,
            "etcdserver: wrong downgrade target version format",
        ),
        Error::InvalidDowngradeTarget => (
            InvalidArgument,
            "etcdserver: invalid downgrade target version",
        ),
        Error::DowngradeInProcess => (
            FailedPrecondition,
            "etcdserver: cluster has a downgrade job in progress",
        ),
        Error::NoInflightDowngrade => (FailedPrecondition, "etcdserver: no inflight downgrade job"),
        Error::TooManyRequests => (ResourceExhausted, "etcdserver: too many requests"),
        Error::NoLeader => (Unavailable, "etcdserver: no leader"),
        Error::NotLeader => (FailedPrecondition, "etcdserver: not leader"),
        Error::LeaderChanged => (Unavailable, "etcdserver: leader changed"),
        Error::Stopped => (Unavailable, "etcdserver: server stopped"),
        Error::Timeout => (Unavailable, "etcdserver: request timed out"),
        Error::TimeoutLeaderLost => (
            Unavailable,
            "etcdserver: request timed out, possibly due to previous leader failure",
        ),
        Error::TimeoutConnectionLost => (
            Unavailable,
            "etcdserver: request timed out, possibly due to connection lost",
        ),
        Error::TimeoutApply => (
            Unavailable,
            "etcdserver: request timed out, waiting for the applied index took too long",
        ),
        Error::TimeoutLeaderTransfer => (
            Unknown,
            "etcdserver: request timed out, leader transfer took too long",
        ),
        Error::RootUserNotExist => (FailedPrecondition, "etcdserver: root user does not exist"),
        Error::RootRoleNotExist => (
            FailedPrecondition,
            "etcdserver: root user does not have root role",
        ),
        Error::UserExists => (FailedPrecondition, "etcdserver: user name already exists"),
        Error::UserEmpty => (InvalidArgument, "etcdserver: user name is empty"),
        Error::UserNotFound => (FailedPrecondition, "etcdserver: user name not found"),
        Error::RoleExists => (FailedPrecondition, "etcdserver: role name already exists"),
        Error::RoleNotFound => (FailedPrecondition, "etcdserver: role name not found"),
        Error::RoleEmpty => (InvalidArgument, "etcdserver: role name is empty"),
        Error::AuthFailed => (
            InvalidArgument,
            "etcdserver: authentication failed, invalid user ID or password",
        ),
        Error::NoPasswordUser => (
            Unknown,
            "auth: authentication failed, password was given for no password user",
        ),
        Error::PermissionDenied => (PermissionDenied, "etcdserver: permission denied"),
        Error::RoleNotGranted => (
            FailedPrecondition,
            "etcdserver: role is not granted to the user",
        ),
        Error::PermissionNotGranted => (
            FailedPrecondition,
            "etcdserver: permission is not granted to the role",
        ),
        Error::PermissionNotGiven => (InvalidArgument, "etcdserver: permission not given"),
        Error::AuthNotEnabled => (
            FailedPrecondition,
            "etcdserver: authentication is not enabled",
        ),
        Error::InvalidAuthToken => (Unauthenticated, "etcdserver: invalid auth token"),
        // Not one of etcd's own errors: its clients are told it as Go's server tells any.
        Error::TokenVerifyOnly => (
            Unknown,
            "auth: token signing attempted with verify-only key",
        ),
        Error::InvalidAuthMgmt => (InvalidArgument, "etcdserver: invalid auth management"),
        Error::AuthOldRevision => (InvalidArgument, "etcdserver: revision of auth store is old"),
        Error::Corrupt => (DataLoss, "etcdserver: corrupt cluster"),
        Error::RangeStreamSort => (
            Unimplemented,
            "RangeStream does not support custom sort orders",
        ),
        Error::RangeStreamRevisionFilter => (
            Unimplemented,
            "RangeStream does not support revision filters",
        ),
    }
}

/// `error` as tonic's status.
#[cfg(feature = "grpc")]
pub fn grpc(error: &Error) -> tonic::Status {
    let (code, text) = status(error);
    tonic::Status::new(tonic::Code::from(code as i32), text)
}
