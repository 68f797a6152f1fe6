//! A reply of any method, typed until a transport encodes it.

use bytes::BufMut;
use detcd_wire::etcdserverpb as pb;
use prost::Message;

macro_rules! replies {
    ($($method:ident($response:ident),)*) => {
        #[derive(Clone, Debug, PartialEq)]
        pub enum Reply {
            $($method(pb::$response),)*
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
    Range(RangeResponse),
    RangeStream(RangeStreamResponse),
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
    Compact(CompactionResponse),
    Watch(WatchResponse),
    LeaseGrant(LeaseGrantResponse),
    LeaseRevoke(LeaseRevokeResponse),
    LeaseKeepAlive(LeaseKeepAliveResponse),
    LeaseTimeToLive(LeaseTimeToLiveResponse),
    LeaseLeases(LeaseLeasesResponse),
    MemberList(MemberListResponse),
    MemberAdd(MemberAddResponse),
    MemberRemove(MemberRemoveResponse),
    MemberUpdate(MemberUpdateResponse),
    MemberPromote(MemberPromoteResponse),
    Alarm(AlarmResponse),
    Status(StatusResponse),
    HashKv(HashKvResponse),
    MoveLeader(MoveLeaderResponse),
}
