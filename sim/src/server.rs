//! A member's client port: etcd's messages, decoded, handed to the driver and encoded again, as
//! the gRPC services do it.

use crate::net::stream::Stream;
use crate::net::{Host, Incoming, Net, Port};
use crate::protocol::{self, Failure, Method};
use bytes::Bytes;
use detcd_core::api::{
    AlarmRequest, CompactRequest, DeleteRangeRequest, LeaseId, Member, MemberId, PutRequest,
    RangeRequest, TxnRequest,
};
use detcd_core::error::Error;
use detcd_driver::{Handle, Header};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::header::{Headed, header};
use detcd_wire::status::status;
use detcd_wire::watch::{watch_request, watch_response};
use futures::future;
use prost::Message;

/// Serves clients for as long as the process lives.
pub async fn serve(net: Net, host: Host, handle: Handle) {
    let mut incoming = net.listen(host, Port::Client);
    while let Some(incoming) = incoming.recv().await {
        let handle = handle.clone();
        match incoming {
            Incoming::Call {
                kind, body, reply, ..
            } => {
                detcd_rt::spawn(async move {
                    let answer = match Method::from_number(kind) {
                        Some(method) => answer(&handle, method, body).await,
                        None => Err(Failure {
                            code: 12,
                            text: format!("no method {kind}"),
                        }),
                    };
                    reply.send(protocol::encode(answer));
                });
            }
            Incoming::Open { kind, stream, .. } => {
                if Method::from_number(kind) == Some(Method::Watch) {
                    detcd_rt::spawn(watch(handle, stream));
                }
            }
        }
    }
}

async fn answer(handle: &Handle, method: Method, body: Bytes) -> Result<Bytes, Failure> {
    match method {
        Method::Range
        | Method::Put
        | Method::DeleteRange
        | Method::Txn
        | Method::Compact
        | Method::HashKv => keys(handle, method, body).await,
        Method::LeaseGrant
        | Method::LeaseRevoke
        | Method::LeaseKeepAlive
        | Method::LeaseTimeToLive => lease(handle, method, body).await,
        Method::MemberList
        | Method::MemberAdd
        | Method::MemberRemove
        | Method::MemberUpdate
        | Method::MemberPromote
        | Method::MoveLeader => membership(handle, method, body).await,
        Method::Status => {
            let raft = handle.status().raft;
            let response = pb::StatusResponse {
                leader: raft.leader.map_or(0, |leader| leader.0),
                raft_index: raft.committed,
                raft_term: raft.term,
                raft_applied_index: raft.applied,
                ..Default::default()
            };
            done(handle.header_now(), response)
        }
        Method::Alarm => {
            let request = AlarmRequest::try_from(decode::<pb::AlarmRequest>(body)?);
            let answered = handle.alarm(request.map_err(failure)?).await;
            let (header, alarms) = answered.map_err(failure)?;
            let alarms = alarms.into_iter().map(pb::AlarmMember::from).collect();
            let response = pb::AlarmResponse {
                header: None,
                alarms,
            };
            done(header, response)
        }
        Method::Watch => Err(Failure {
            code: 12,
            text: "watch is a stream".to_owned(),
        }),
    }
}

/// Reads and writes of keys, and of the history of all of them.
async fn keys(handle: &Handle, method: Method, body: Bytes) -> Result<Bytes, Failure> {
    match method {
        Method::Range => {
            let request = RangeRequest::try_from(decode::<pb::RangeRequest>(body)?);
            let read = handle.range(request.map_err(failure)?).await;
            let (header, reply) = read.map_err(failure)?;
            done(header, pb::RangeResponse::from(reply))
        }
        Method::Put => {
            let request = PutRequest::from(decode::<pb::PutRequest>(body)?);
            let (header, reply) = handle.put(request).await.map_err(failure)?;
            done(header, pb::PutResponse::from(reply))
        }
        Method::DeleteRange => {
            let request = DeleteRangeRequest::from(decode::<pb::DeleteRangeRequest>(body)?);
            let (header, reply) = handle.delete_range(request).await.map_err(failure)?;
            done(header, pb::DeleteRangeResponse::from(reply))
        }
        Method::Txn => {
            let request = TxnRequest::try_from(decode::<pb::TxnRequest>(body)?);
            let committed = handle.txn(request.map_err(failure)?).await;
            let (header, reply) = committed.map_err(failure)?;
            done(header, pb::TxnResponse::from(reply))
        }
        Method::Compact => {
            let request = CompactRequest::from(decode::<pb::CompactionRequest>(body)?);
            let header = handle.compact(request).await.map_err(failure)?;
            done(header, pb::CompactionResponse::default())
        }
        _ => {
            let request = decode::<pb::HashKvRequest>(body)?;
            let (header, hash) = handle.hash_kv(request.revision).await.map_err(failure)?;
            let response = pb::HashKvResponse {
                header: None,
                hash: hash.hash,
                compact_revision: hash.compact_revision,
                hash_revision: hash.hash_revision,
            };
            done(header, response)
        }
    }
}

/// The membership, its changes, and who leads.
async fn membership(handle: &Handle, method: Method, body: Bytes) -> Result<Bytes, Failure> {
    let header = None;
    match method {
        Method::MemberList => {
            let request = decode::<pb::MemberListRequest>(body)?;
            let list = handle.member_list(request.linearizable).await;
            let (told, members) = list.map_err(failure)?;
            let members = messages(members);
            done(told, pb::MemberListResponse { header, members })
        }
        Method::MemberAdd => {
            let request = decode::<pb::MemberAddRequest>(body)?;
            let added = handle
                .member_add(&request.peer_urls, request.is_learner)
                .await;
            let (told, member, members) = added.map_err(failure)?;
            let (member, members) = (Some(member.into()), messages(members));
            let response = pb::MemberAddResponse {
                header,
                member,
                members,
            };
            done(told, response)
        }
        Method::MemberRemove => {
            let request = decode::<pb::MemberRemoveRequest>(body)?;
            let removed = handle.member_remove(MemberId(request.id)).await;
            let (told, members) = removed.map_err(failure)?;
            let members = messages(members);
            done(told, pb::MemberRemoveResponse { header, members })
        }
        Method::MemberUpdate => {
            let request = decode::<pb::MemberUpdateRequest>(body)?;
            let id = MemberId(request.id);
            let updated = handle.member_update(id, &request.peer_urls).await;
            let (told, members) = updated.map_err(failure)?;
            let members = messages(members);
            done(told, pb::MemberUpdateResponse { header, members })
        }
        Method::MemberPromote => {
            let request = decode::<pb::MemberPromoteRequest>(body)?;
            let promoted = handle.member_promote(MemberId(request.id)).await;
            let (told, members) = promoted.map_err(failure)?;
            let members = messages(members);
            done(told, pb::MemberPromoteResponse { header, members })
        }
        _ => {
            let request = decode::<pb::MoveLeaderRequest>(body)?;
            let moved = handle.move_leader(MemberId(request.target_id)).await;
            done(moved.map_err(failure)?, pb::MoveLeaderResponse::default())
        }
    }
}

fn messages(members: Vec<Member>) -> Vec<pb::Member> {
    members.into_iter().map(pb::Member::from).collect()
}

async fn lease(handle: &Handle, method: Method, body: Bytes) -> Result<Bytes, Failure> {
    match method {
        Method::LeaseGrant => {
            let request = decode::<pb::LeaseGrantRequest>(body)?;
            let granted = handle.lease_grant(LeaseId(request.id), request.ttl).await;
            let (header, id, ttl) = granted.map_err(failure)?;
            let response = pb::LeaseGrantResponse {
                id: id.0,
                ttl,
                ..Default::default()
            };
            done(header, response)
        }
        Method::LeaseRevoke => {
            let request = decode::<pb::LeaseRevokeRequest>(body)?;
            let header = handle
                .lease_revoke(LeaseId(request.id))
                .await
                .map_err(failure)?;
            done(header, pb::LeaseRevokeResponse::default())
        }
        Method::LeaseKeepAlive => {
            let request = decode::<pb::LeaseKeepAliveRequest>(body)?;
            let (header, info) = handle
                .keep_alive(LeaseId(request.id))
                .await
                .map_err(failure)?;
            done(header, pb::LeaseKeepAliveResponse::from(info))
        }
        _ => {
            let request = decode::<pb::LeaseTimeToLiveRequest>(body)?;
            let told = handle.time_to_live(LeaseId(request.id), request.keys).await;
            let (header, info) = told.map_err(failure)?;
            done(header, pb::LeaseTimeToLiveResponse::from(info))
        }
    }
}

/// One watch stream: requests in, responses out, until either side ends.
async fn watch(handle: Handle, mut stream: Stream) {
    let Ok(mut watch) = handle.watch().await else {
        return;
    };
    let (requests, responses) = (watch.sender(), stream.sender());
    let read = async {
        while let Some(Ok(body)) = stream.recv().await {
            let Ok(request) = pb::WatchRequest::decode(body) else {
                return;
            };
            if let Some(request) = watch_request(request) {
                requests.send(request).await;
            }
        }
    };
    let write = async {
        while let Some(Ok(response)) = watch.recv().await {
            let message = watch_response(response, message_header(handle.header_now()));
            if responses
                .send(message.encode_to_vec().into())
                .await
                .is_err()
            {
                return;
            }
        }
    };
    future::select(std::pin::pin!(read), std::pin::pin!(write)).await;
}

fn decode<M: Message + Default>(body: Bytes) -> Result<M, Failure> {
    M::decode(body).map_err(|error| Failure {
        code: 13,
        text: error.to_string(),
    })
}

fn done(header: Header, response: impl Headed + Message) -> Result<Bytes, Failure> {
    let response = response.with_header(message_header(header));
    Ok(response.encode_to_vec().into())
}

fn message_header(from: Header) -> pb::ResponseHeader {
    header(
        from.cluster_id,
        from.member_id,
        from.revision,
        from.raft_term,
    )
}

fn failure(error: Error) -> Failure {
    let (code, text) = status(&error);
    Failure {
        code: code as u32,
        text: text.to_owned(),
    }
}
