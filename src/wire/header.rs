//! The header that every response carries, apart from the reply itself: conversions make replies
//! without one, and whoever knows the member's identity and term adds it.

use crate::etcdserverpb as pb;
use detcd_core::api::{ClusterId, MemberId};

/// A response that has a header.
pub trait Headed: Sized {
    fn header(&self) -> Option<&pb::ResponseHeader>;
    fn with_header(self, header: pb::ResponseHeader) -> Self;
}

/// The header of a member's response.
pub fn header(
    cluster_id: ClusterId,
    member_id: MemberId,
    revision: i64,
    raft_term: u64,
) -> pb::ResponseHeader {
    pb::ResponseHeader {
        cluster_id: cluster_id.0,
        member_id: member_id.0,
        revision,
        raft_term,
    }
}

/// The header within a transaction's response, which says the revision and nothing else.
pub(crate) fn nested(revision: i64) -> pb::ResponseHeader {
    pb::ResponseHeader {
        revision,
        ..Default::default()
    }
}

macro_rules! headed {
    ($($response:ident),* $(,)?) => {$(
        impl Headed for pb::$response {
            fn header(&self) -> Option<&pb::ResponseHeader> {
                self.header.as_ref()
            }
            fn with_header(mut self, header: pb::ResponseHeader) -> Self {
                self.header = Some(header);
                self
            }
        }
    )*};
}

headed!(
    RangeResponse,
    PutResponse,
    DeleteRangeResponse,
    TxnResponse,
    CompactionResponse,
    WatchResponse,
    LeaseGrantResponse,
    LeaseRevokeResponse,
    LeaseKeepAliveResponse,
    LeaseTimeToLiveResponse,
    LeaseLeasesResponse,
    MemberAddResponse,
    MemberRemoveResponse,
    MemberUpdateResponse,
    MemberListResponse,
    MemberPromoteResponse,
    AlarmResponse,
    StatusResponse,
    DefragmentResponse,
    HashResponse,
    HashKvResponse,
    SnapshotResponse,
    MoveLeaderResponse,
    DowngradeResponse,
    AuthenticateResponse,
    AuthEnableResponse,
    AuthDisableResponse,
    AuthStatusResponse,
    AuthUserAddResponse,
    AuthUserGetResponse,
    AuthUserListResponse,
    AuthUserDeleteResponse,
    AuthUserChangePasswordResponse,
    AuthUserGrantRoleResponse,
    AuthUserRevokeRoleResponse,
    AuthRoleAddResponse,
    AuthRoleGetResponse,
    AuthRoleListResponse,
    AuthRoleDeleteResponse,
    AuthRoleGrantPermissionResponse,
    AuthRoleRevokePermissionResponse,
);
