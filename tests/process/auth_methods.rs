//! Each method of the table, asked by nobody, with a token that nobody has, by a user without a role and
//! by root, with authentication on: what its column says is what happens.

use crate::auth::{CHEAP, authenticate, enable, shown};
use crate::cluster::{Cluster, Node, WAIT_MAX};
use crate::errors::{Call, Raw, call};
use detcd_service::method::{Access, Streaming};
use detcd_service::{METHODS, Method, Rpc};
use detcd_wire::{authpb, etcdserverpb as pb, v3electionpb as election, v3lockpb as lock};
use futures::StreamExt as _;
use prost::Message;
use tonic::Status;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

const NOBODY: &str = "etcdserver: user name is empty";
const UNKNOWN: &str = "etcdserver: invalid auth token";
const DENIED: &str = "etcdserver: permission denied";
/// As in etcd, whoever observes an election is not told why it ends.
const CLOSED: &str = "election: observe closed early";
const LEASE: i64 = 7;

fn watch() -> pb::WatchRequest {
    let create = pb::WatchCreateRequest {
        key: "k".into(),
        ..Default::default()
    };
    pb::WatchRequest {
        request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)),
    }
}

fn txn() -> pb::TxnRequest {
    let range = pb::RangeRequest {
        key: "k".into(),
        ..Default::default()
    };
    let op = pb::RequestOp {
        request: Some(pb::request_op::Request::RequestRange(range)),
    };
    pb::TxnRequest {
        success: vec![op],
        ..Default::default()
    }
}

fn leader() -> Option<election::LeaderKey> {
    Some(election::LeaderKey {
        name: "election".into(),
        key: "election/7".into(),
        rev: 1,
        lease: LEASE,
    })
}

/// A message of the method, and whether what it asks for is for any user, where the message decides.
fn call_of(method: &Method) -> (Call, bool) {
    let (name, key) = (|| "x".to_owned(), || "k".into());
    let path = method.path;
    let call = match method.rpc {
        Rpc::Put => call(
            path,
            pb::PutRequest {
                key: key(),
                ..Default::default()
            },
        ),
        Rpc::Range | Rpc::RangeStream => call(
            path,
            pb::RangeRequest {
                key: key(),
                ..Default::default()
            },
        ),
        Rpc::Txn => call(path, txn()),
        Rpc::DeleteRange => call(
            path,
            pb::DeleteRangeRequest {
                key: key(),
                ..Default::default()
            },
        ),
        Rpc::Watch => call(path, watch()),
        Rpc::Compact => call(
            path,
            pb::CompactionRequest {
                revision: 1,
                physical: false,
            },
        ),
        // For any user.
        Rpc::LeaseKeepAlive => return (call(path, pb::LeaseKeepAliveRequest { id: LEASE }), true),
        Rpc::LeaseGrant => return (call(path, pb::LeaseGrantRequest { ttl: 600, id: 0 }), true),
        Rpc::LeaseRevoke => return (call(path, pb::LeaseRevokeRequest { id: 1 }), true),
        Rpc::LeaseTimeToLive => {
            return (
                call(
                    path,
                    pb::LeaseTimeToLiveRequest {
                        id: LEASE,
                        keys: false,
                    },
                ),
                true,
            );
        }
        Rpc::Alarm => return (call(path, pb::AlarmRequest::default()), true),
        Rpc::LeaseLeases
        | Rpc::MemberList
        | Rpc::MemberAdd
        | Rpc::MemberRemove
        | Rpc::MemberUpdate
        | Rpc::MemberPromote
        | Rpc::Status
        | Rpc::HashKv
        | Rpc::Hash
        | Rpc::Defragment
        | Rpc::MoveLeader
        | Rpc::Downgrade
        | Rpc::Snapshot
        | Rpc::AuthStatus
        | Rpc::Authenticate
        | Rpc::AuthEnable
        | Rpc::AuthDisable
        | Rpc::UserList
        | Rpc::RoleList
        | Rpc::HealthCheck
        | Rpc::HealthWatch
        | Rpc::Reflection
        | Rpc::ReflectionAlpha => call(path, pb::StatusRequest {}),
        Rpc::UserAdd => call(
            path,
            pb::AuthUserAddRequest {
                name: name(),
                ..Default::default()
            },
        ),
        Rpc::UserGet => call(
            path,
            pb::AuthUserGetRequest {
                name: "root".to_owned(),
            },
        ),
        Rpc::UserDelete => call(path, pb::AuthUserDeleteRequest { name: name() }),
        Rpc::UserChangePassword => call(
            path,
            pb::AuthUserChangePasswordRequest {
                name: name(),
                ..Default::default()
            },
        ),
        Rpc::UserGrantRole => call(
            path,
            pb::AuthUserGrantRoleRequest {
                user: name(),
                role: name(),
            },
        ),
        Rpc::UserRevokeRole => call(
            path,
            pb::AuthUserRevokeRoleRequest {
                name: name(),
                role: name(),
            },
        ),
        Rpc::RoleAdd => call(path, pb::AuthRoleAddRequest { name: name() }),
        Rpc::RoleGet => call(path, pb::AuthRoleGetRequest { role: name() }),
        Rpc::RoleDelete => call(path, pb::AuthRoleDeleteRequest { role: name() }),
        Rpc::RoleGrantPermission => call(
            path,
            pb::AuthRoleGrantPermissionRequest {
                name: name(),
                perm: Some(authpb::Permission {
                    key: key(),
                    ..Default::default()
                }),
            },
        ),
        Rpc::RoleRevokePermission => call(
            path,
            pb::AuthRoleRevokePermissionRequest {
                role: name(),
                key: key(),
                ..Default::default()
            },
        ),
        Rpc::Lock => call(
            path,
            lock::LockRequest {
                name: "lock".into(),
                lease: LEASE,
            },
        ),
        Rpc::Unlock => call(path, lock::UnlockRequest { key: key() }),
        Rpc::Campaign => call(
            path,
            election::CampaignRequest {
                name: "new".into(),
                lease: LEASE,
                value: key(),
            },
        ),
        Rpc::Proclaim => call(
            path,
            election::ProclaimRequest {
                leader: leader(),
                value: key(),
            },
        ),
        Rpc::Leader | Rpc::Observe => call(
            path,
            election::LeaderRequest {
                name: "election".into(),
            },
        ),
        Rpc::Resign => call(path, election::ResignRequest { leader: leader() }),
    };
    (call, false)
}

/// What a client with these credentials is refused with; `None` if it is for it.
async fn refusal(node: &Node, method: &Method, token: &str) -> Option<String> {
    let answer = async {
        if method.rpc == Rpc::Watch {
            let first: pb::WatchResponse = first(node, method, token).await?;
            return match first.canceled {
                true => Err(Status::unknown(first.cancel_reason)),
                false => Ok(()),
            };
        }
        first::<Raw>(node, method, token).await.map(drop)
    };
    let answer = tokio::time::timeout(WAIT_MAX, answer).await;
    let answer = answer.unwrap_or_else(|_| panic!("{} does not answer", method.path));
    let told = answer.err()?.message().to_owned();
    let refusals = [NOBODY, UNKNOWN, DENIED, CLOSED].into_iter();
    let mut refused = refusals.filter(|it| told.ends_with(it));
    refused.next().map(str::to_owned)
}

/// The first message that comes back.
async fn first<M: Message + Default + 'static>(
    node: &Node,
    method: &Method,
    token: &str,
) -> Result<M, Status> {
    let mut client = Grpc::new(node.channel());
    client.ready().await.expect("a connection");
    let asked = futures::stream::iter([call_of(method).0.body]);
    let asked = match method.streaming {
        Streaming::Bidi => asked.chain(futures::stream::pending()).boxed(),
        Streaming::Unary | Streaming::Server => asked.boxed(),
    };
    let request = match token {
        "" => tonic::Request::new(asked),
        token => shown(asked, token),
    };
    let path = PathAndQuery::from_static(method.path);
    let codec = ProstCodec::<Raw, M>::default();
    let answers = client.streaming(request, path, codec).await?;
    let first = answers.into_inner().message().await?;
    first.ok_or_else(|| Status::unknown("the end"))
}

/// What nobody, a token that nobody has, a user without a role and root are refused with.
fn expected(method: &Method) -> [Option<&'static str>; 4] {
    let (nobody, unknown, denied) = match method.rpc {
        Rpc::Observe => (CLOSED, CLOSED, CLOSED),
        _ => (NOBODY, UNKNOWN, DENIED),
    };
    match method.access {
        Access::Anyone => [None; 4],
        Access::User => [Some(nobody), Some(unknown), None, None],
        Access::Judged if call_of(method).1 => [Some(nobody), Some(unknown), None, None],
        Access::Admin | Access::Judged => [Some(nobody), Some(unknown), Some(denied), None],
    }
}

#[tokio::test]
async fn each_method_is_for_whom_its_table_says() {
    let cluster = Cluster::started(1, &[CHEAP]).await;
    let node = &cluster.nodes[0];
    let mut leases = pb::lease_client::LeaseClient::new(node.channel());
    let lease = pb::LeaseGrantRequest {
        ttl: 600,
        id: LEASE,
    };
    leases.lease_grant(lease).await.expect("a lease");
    // An election has a leader: who may observe it sees one.
    crate::cluster::put_eventually(node, "election/7", "v").await;
    enable(node, &["plain"]).await;
    let mut wrong = Vec::new();
    // After it everybody may do everything.
    let (last, methods): (Vec<_>, Vec<_>) =
        METHODS.iter().partition(|it| it.rpc == Rpc::AuthDisable);
    for method in methods.into_iter().chain(last) {
        let plain = authenticate(node, "plain", "pw").await.expect("a token");
        let root = authenticate(node, "root", "pw").await.expect("a token");
        let tokens = ["", "no token", &plain, &root];
        for (token, expected) in tokens.into_iter().zip(expected(method)) {
            let refused = refusal(node, method, token).await;
            if refused.as_deref() != expected {
                let path = method.path;
                wrong.push(format!(
                    "{path} with {token:?}: {refused:?}, not {expected:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
