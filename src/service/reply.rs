//! A reply of any method, typed until a transport encodes it.

use bytes::BufMut;
use detcd_wire::{etcdserverpb as pb, v3electionpb as election, v3lockpb as lock};
use prost::Message;

macro_rules! replies {
    ($($method:ident($package:ident::$response:ident),)*) => {
        #[derive(Clone, Debug, PartialEq)]
        pub enum Reply {
            $($method($package::$response),)*
        }

        impl Reply {
            pub fn encoded_len(&self) -> usize {
                match self {
                    $(Reply::$method(response) => response.encoded_len(),)*
                }
            }

            /// Appends the encoded message.
            pub fn encode(&self, buffer: &mut impl BufMut) {
                match self {
                    // A buffer that grows has room.
                    $(Reply::$method(response) => response.encode_raw(buffer),)*
                }
            }
        }
    };
}

replies! {
    Range(pb::RangeResponse),
    RangeStream(pb::RangeStreamResponse),
    Put(pb::PutResponse),
    DeleteRange(pb::DeleteRangeResponse),
    Txn(pb::TxnResponse),
    Compact(pb::CompactionResponse),
    Watch(pb::WatchResponse),
    LeaseGrant(pb::LeaseGrantResponse),
    LeaseRevoke(pb::LeaseRevokeResponse),
    LeaseKeepAlive(pb::LeaseKeepAliveResponse),
    LeaseTimeToLive(pb::LeaseTimeToLiveResponse),
    LeaseLeases(pb::LeaseLeasesResponse),
    MemberList(pb::MemberListResponse),
    MemberAdd(pb::MemberAddResponse),
    MemberRemove(pb::MemberRemoveResponse),
    MemberUpdate(pb::MemberUpdateResponse),
    MemberPromote(pb::MemberPromoteResponse),
    Alarm(pb::AlarmResponse),
    Status(pb::StatusResponse),
    HashKv(pb::HashKvResponse),
    MoveLeader(pb::MoveLeaderResponse),
    Hash(pb::HashResponse),
    Defragment(pb::DefragmentResponse),
    Downgrade(pb::DowngradeResponse),
    Snapshot(pb::SnapshotResponse),
    Lock(lock::LockResponse),
    Unlock(lock::UnlockResponse),
    Campaign(election::CampaignResponse),
    Proclaim(election::ProclaimResponse),
    Leader(election::LeaderResponse),
    Observe(election::LeaderResponse),
    Resign(election::ResignResponse),
    AuthEnable(pb::AuthEnableResponse),
    AuthDisable(pb::AuthDisableResponse),
    AuthStatus(pb::AuthStatusResponse),
    Authenticate(pb::AuthenticateResponse),
    UserAdd(pb::AuthUserAddResponse),
    UserGet(pb::AuthUserGetResponse),
    UserList(pb::AuthUserListResponse),
    UserDelete(pb::AuthUserDeleteResponse),
    UserChangePassword(pb::AuthUserChangePasswordResponse),
    UserGrantRole(pb::AuthUserGrantRoleResponse),
    UserRevokeRole(pb::AuthUserRevokeRoleResponse),
    RoleAdd(pb::AuthRoleAddResponse),
    RoleGet(pb::AuthRoleGetResponse),
    RoleList(pb::AuthRoleListResponse),
    RoleDelete(pb::AuthRoleDeleteResponse),
    RoleGrantPermission(pb::AuthRoleGrantPermissionResponse),
    RoleRevokePermission(pb::AuthRoleRevokePermissionResponse),
}
