//! What a request can fail with. One enum for every protocol; `wire` turns each into etcd's gRPC
//! code and exact text by one exhaustive match.

use thiserror::Error;

/// Why a request failed, in etcd's terms. The display texts are ours for logs; clients see the
/// texts of `wire::status`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error("key is not provided")]
    EmptyKey,
    #[error("key not found")]
    KeyNotFound,
    #[error("value is provided")]
    ValueProvided,
    #[error("lease is provided")]
    LeaseProvided,
    #[error("too many operations in txn request")]
    TooManyOps,
    #[error("duplicate key given in txn request")]
    DuplicateKey,
    #[error("invalid sort option")]
    InvalidSortOption,
    #[error("invalid request: {0}")]
    Malformed(&'static str),
    #[error("request is too large")]
    RequestTooLarge,
    #[error("required revision has been compacted")]
    Compacted,
    #[error("required revision is a future revision")]
    FutureRevision,
    #[error("database space exceeded")]
    NoSpace,
    #[error("too large lease TTL")]
    LeaseTtlTooLarge,
    #[error("requested lease not found")]
    LeaseNotFound,
    #[error("lease already exists")]
    LeaseExists,
    #[error("member not found")]
    MemberNotFound,
    #[error("member ID already exists")]
    MemberExists,
    #[error("peer URLs already exist")]
    PeerUrlExists,
    #[error("not enough members have started")]
    MemberNotEnoughStarted,
    #[error("the peer URLs make no sense")]
    MemberBadUrls,
    #[error("not a learner")]
    MemberNotLearner,
    #[error("the learner lags behind the leader")]
    LearnerNotReady,
    #[error("too many learners")]
    TooManyLearners,
    #[error("not served by a learner")]
    LearnerUnsupported,
    #[error("leadership cannot be handed to this member")]
    BadTransferee,
    #[error("unhealthy cluster")]
    Unhealthy,
    #[error("not a version")]
    WrongDowngradeFormat,
    #[error("not the version below the cluster's")]
    InvalidDowngradeTarget,
    #[error("a downgrade is announced already")]
    DowngradeInProcess,
    #[error("no downgrade is announced")]
    NoInflightDowngrade,
    #[error("too many requests")]
    TooManyRequests,
    #[error("no leader")]
    NoLeader,
    #[error("not leader")]
    NotLeader,
    #[error("leader changed")]
    LeaderChanged,
    #[error("server stopped")]
    Stopped,
    /// The outcome is unknown: the write may take effect at any later time, or never.
    #[error("request timed out; its outcome is unknown")]
    Timeout,
    /// The outcome is unknown, and the leader was lost meanwhile.
    #[error("request timed out after a leader failure; its outcome is unknown")]
    TimeoutLeaderLost,
    /// The outcome is unknown: the connection to the leader broke.
    #[error("connection to the leader lost; the outcome is unknown")]
    TimeoutConnectionLost,
    #[error("waiting for the applied index took too long")]
    TimeoutApply,
    /// Leadership may still change hands.
    #[error("handing over the leadership took too long")]
    TimeoutLeaderTransfer,
    #[error("root user does not exist")]
    RootUserNotExist,
    #[error("root user does not have the root role")]
    RootRoleNotExist,
    #[error("user exists already")]
    UserExists,
    #[error("user name is empty")]
    UserEmpty,
    #[error("user not found")]
    UserNotFound,
    #[error("role exists already")]
    RoleExists,
    #[error("role not found")]
    RoleNotFound,
    #[error("role name is empty")]
    RoleEmpty,
    #[error("wrong user name or password")]
    AuthFailed,
    #[error("the user has no password")]
    NoPasswordUser,
    #[error("permission denied")]
    PermissionDenied,
    #[error("role is not granted to the user")]
    RoleNotGranted,
    #[error("permission is not granted to the role")]
    PermissionNotGranted,
    #[error("permission not given")]
    PermissionNotGiven,
    #[error("authentication is not enabled")]
    AuthNotEnabled,
    #[error("invalid auth token")]
    InvalidAuthToken,
    /// This member can check signed tokens and has no key to make any.
    #[error("tokens are verified here, and not signed")]
    TokenVerifyOnly,
    #[error("what is asked for would lock everybody out")]
    InvalidAuthMgmt,
    /// Users or roles were changed since the client said who it is: nothing was done.
    #[error("auth revision is old")]
    AuthOldRevision,
    #[error("corrupt cluster")]
    Corrupt,
    #[error("RangeStream does not support custom sort orders")]
    RangeStreamSort,
    #[error("RangeStream does not support revision filters")]
    RangeStreamRevisionFilter,
}

impl Error {
    /// Whether a write that failed so may still take effect at any later time.
    pub fn leaves_outcome_unknown(&self) -> bool {
        matches!(
            self,
            Error::Timeout
                | Error::TimeoutLeaderLost
                | Error::TimeoutConnectionLost
                | Error::TimeoutApply
                | Error::Stopped
        )
    }
}
