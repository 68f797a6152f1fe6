//! The recordings the other way round: what etcdctl once asked etcd is asked of detcd, and the
//! answers must be etcd's. Left out is what no two clusters share: ids, terms and sizes.

use crate::call::{Call, Raw, Step, raise};
use crate::case::{Before, Script, split};
use crate::cluster::{Cluster, Node, WAIT_MAX};
use bytes::Bytes;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::header::Headed;
use prost::Message;
use std::fmt::Debug;
use std::process::Stdio;
use tokio::process::Command;
use tokio_stream::StreamExt as _;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;

/// Runs every case of `script` against a fresh member; tells where it answers differently.
pub async fn compare(script: &Script) -> Vec<String> {
    let cluster = Cluster::started(1, &[]).await;
    let member = &cluster.nodes[0];
    let mut differences = Vec::new();
    for case in &script.cases {
        for before in &case.before {
            match before {
                Before::Comment(_) => {}
                Before::Prepare(line) => prepare(member, line).await,
                Before::Raise(id, kind) => raise(member.channel(), *id, kind).await,
            }
        }
        // What the case's first call was given, the others show.
        let mut token = None;
        for call in &case.calls {
            let recorded = recorded(call);
            let asked = ask(member.channel(), call, &mut token);
            let seen = tokio::time::timeout(WAIT_MAX, asked).await;
            let seen = seen.unwrap_or_else(|_| vec!["no answer".to_owned()]);
            if seen != recorded {
                differences.push(format!(
                    "$ {}\n{}\netcd:\n{}\ndetcd:\n{}",
                    case.line,
                    call.path,
                    recorded.join("\n"),
                    seen.join("\n")
                ));
            }
        }
    }
    differences
}

async fn prepare(member: &Node, line: &str) {
    use std::os::unix::ffi::OsStringExt as _;
    let words = split(line).into_iter().map(std::ffi::OsString::from_vec);
    let output = Command::new(env!("CARGO_BIN_EXE_detcdctl"))
        .args(words)
        .env(
            "ETCDCTL_ENDPOINTS",
            format!("127.0.0.1:{}", member.client_port),
        )
        .stdin(Stdio::null())
        .output()
        .await
        .expect("detcdctl starts");
    assert!(output.status.success(), "{line}: {output:?}");
}

/// What etcd answered.
fn recorded(call: &Call) -> Vec<String> {
    let answers = call.steps.iter().filter_map(|step| match step {
        Step::Request(_) => None,
        Step::Response(bytes) => Some(Ok(bytes.clone())),
        Step::End(code, text) => Some(Err(tonic::Status::new((*code).into(), text.clone()))),
    });
    show(&call.path, answers.collect())
}

/// What the member answers to the same requests. A stream is read as far as etcd's went.
async fn ask(channel: Channel, call: &Call, token: &mut Option<String>) -> Vec<String> {
    let requests: Vec<Bytes> = call.steps.iter().filter_map(request_of).collect();
    let expected = recorded(call).len();
    let path = PathAndQuery::try_from(call.path.clone()).expect("a path");
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.expect("the member serves");
    if matches!(&call.path[..], WATCH | KEEP_ALIVE) {
        // A stream's client stays until it has what it wants.
        let stream = tokio_stream::iter(requests).chain(tokio_stream::pending());
        let mut answers = Vec::new();
        match grpc.streaming(tonic::Request::new(stream), path, Raw).await {
            Err(status) => answers.push(Err(status)),
            Ok(response) => {
                let mut response = response.into_inner();
                while show(&call.path, answers.clone()).len() < expected {
                    let Some(answer) = response.next().await else {
                        break;
                    };
                    answers.push(answer);
                }
            }
        }
        return show(&call.path, answers);
    }
    let [request] = &requests[..] else {
        panic!("{} takes one request", call.path);
    };
    let request = about_this_member(&channel, &call.path, request.clone()).await;
    let mut request = tonic::Request::new(request);
    if let Some(token) = token {
        let shown = token.parse().expect("text");
        request.metadata_mut().insert("token", shown);
    }
    let answer = grpc.unary(request, path, Raw).await;
    let answer = answer.map(tonic::Response::into_inner);
    if let (AUTHENTICATE, Ok(bytes)) = (&call.path[..], &answer) {
        let given = pb::AuthenticateResponse::decode(bytes.clone());
        *token = Some(given.expect("an answer of its kind").token);
    }
    show(&call.path, vec![answer])
}

/// The one member of the cluster that was recorded: its id comes from flags that never change.
const ETCDS_MEMBER: u64 = 0xb71f_7532_0dc0_6a6c;

/// A request about etcd's member becomes one about ours.
async fn about_this_member(channel: &Channel, path: &str, request: Bytes) -> Bytes {
    let status = pb::maintenance_client::MaintenanceClient::new(channel.clone())
        .status(pb::StatusRequest {})
        .await;
    let header = status.expect("a status").into_inner().header;
    let own = header.expect("a header").member_id;
    fn put_in<M: Message + Default>(bytes: Bytes, own: u64, id: fn(&mut M) -> &mut u64) -> Bytes {
        let mut message = M::decode(bytes).expect("a request of its kind");
        let id = id(&mut message);
        if *id == ETCDS_MEMBER {
            *id = own;
        }
        message.encode_to_vec().into()
    }
    match path {
        "/etcdserverpb.Cluster/MemberRemove" => {
            put_in(request, own, |message: &mut pb::MemberRemoveRequest| {
                &mut message.id
            })
        }
        "/etcdserverpb.Cluster/MemberPromote" => {
            put_in(request, own, |message: &mut pb::MemberPromoteRequest| {
                &mut message.id
            })
        }
        "/etcdserverpb.Cluster/MemberUpdate" => {
            put_in(request, own, |message: &mut pb::MemberUpdateRequest| {
                &mut message.id
            })
        }
        "/etcdserverpb.Maintenance/MoveLeader" => {
            put_in(request, own, |message: &mut pb::MoveLeaderRequest| {
                &mut message.target_id
            })
        }
        _ => request,
    }
}

fn request_of(step: &Step) -> Option<Bytes> {
    match step {
        Step::Request(bytes) => Some(bytes.clone()),
        Step::Response(_) | Step::End(..) => None,
    }
}

const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";
const WATCH: &str = "/etcdserverpb.Watch/Watch";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

/// Answers as comparable lines. A watch's events count one by one: how they are packed into
/// responses is the server's business.
fn show(path: &str, answers: Vec<Result<Bytes, tonic::Status>>) -> Vec<String> {
    let mut lines = Vec::new();
    for answer in answers {
        match answer {
            Err(status) => lines.push(format!("{:?}: {}", status.code(), status.message())),
            Ok(bytes) if path == WATCH => {
                let mut response: pb::WatchResponse = masked(&bytes);
                let events = std::mem::take(&mut response.events);
                if events.is_empty() {
                    lines.push(format!("{response:?}"));
                }
                lines.extend(events.iter().map(|event| format!("{event:?}")));
            }
            Ok(bytes) => lines.push(show_unary(path, &bytes)),
        }
    }
    lines
}

fn show_unary(path: &str, bytes: &[u8]) -> String {
    fn of<M: Headed + Message + Default + Debug>(bytes: &[u8]) -> String {
        format!("{:?}", masked::<M>(bytes))
    }
    match path {
        "/etcdserverpb.KV/Range" => of::<pb::RangeResponse>(bytes),
        "/etcdserverpb.KV/Put" => of::<pb::PutResponse>(bytes),
        "/etcdserverpb.KV/DeleteRange" => of::<pb::DeleteRangeResponse>(bytes),
        "/etcdserverpb.KV/Txn" => of::<pb::TxnResponse>(bytes),
        "/etcdserverpb.KV/Compact" => of::<pb::CompactionResponse>(bytes),
        "/etcdserverpb.Maintenance/HashKV" => {
            // A field that etcd 3.5 does not know yet.
            let hash: pb::HashKvResponse = masked(bytes);
            format!(
                "{:?}",
                pb::HashKvResponse {
                    hash_revision: 0,
                    ..hash
                }
            )
        }
        "/etcdserverpb.Maintenance/Alarm" => of::<pb::AlarmResponse>(bytes),
        "/etcdserverpb.Lease/LeaseRevoke" => of::<pb::LeaseRevokeResponse>(bytes),
        "/etcdserverpb.Lease/LeaseTimeToLive" => of::<pb::LeaseTimeToLiveResponse>(bytes),
        KEEP_ALIVE => of::<pb::LeaseKeepAliveResponse>(bytes),
        "/etcdserverpb.Lease/LeaseGrant" => {
            let grant: pb::LeaseGrantResponse = masked(bytes);
            format!("{:?}", pb::LeaseGrantResponse { id: 0, ..grant })
        }
        "/etcdserverpb.Lease/LeaseLeases" => {
            let leases: pb::LeaseLeasesResponse = masked(bytes);
            format!("{:?} and {} leases", leases.header, leases.leases.len())
        }
        "/etcdserverpb.Cluster/MemberList" => {
            let list: pb::MemberListResponse = masked(bytes);
            let names: Vec<_> = list.members.into_iter().map(|member| member.name).collect();
            format!("{:?} and {names:?}", list.header)
        }
        "/etcdserverpb.Cluster/MemberAdd" => {
            let added: pb::MemberAddResponse = masked(bytes);
            let member = added.member.map(|member| pb::Member { id: 0, ..member });
            format!(
                "{:?}, {member:?}, {} members",
                added.header,
                added.members.len()
            )
        }
        "/etcdserverpb.Cluster/MemberUpdate" => {
            let updated: pb::MemberUpdateResponse = masked(bytes);
            let members = updated.members.into_iter();
            let shared = members.map(|member| (member.name, member.peer_urls, member.is_learner));
            let mut shared: Vec<_> = shared.collect();
            shared.sort();
            format!("{:?}, {shared:?}", updated.header)
        }
        AUTHENTICATE => {
            let given: pb::AuthenticateResponse = masked(bytes);
            format!("{:?}, a token: {}", given.header, !given.token.is_empty())
        }
        "/etcdserverpb.Auth/AuthEnable" => of::<pb::AuthEnableResponse>(bytes),
        "/etcdserverpb.Auth/AuthDisable" => of::<pb::AuthDisableResponse>(bytes),
        "/etcdserverpb.Auth/AuthStatus" => of::<pb::AuthStatusResponse>(bytes),
        "/etcdserverpb.Auth/UserAdd" => of::<pb::AuthUserAddResponse>(bytes),
        "/etcdserverpb.Auth/UserGet" => of::<pb::AuthUserGetResponse>(bytes),
        "/etcdserverpb.Auth/UserList" => of::<pb::AuthUserListResponse>(bytes),
        "/etcdserverpb.Auth/UserDelete" => of::<pb::AuthUserDeleteResponse>(bytes),
        "/etcdserverpb.Auth/UserChangePassword" => of::<pb::AuthUserChangePasswordResponse>(bytes),
        "/etcdserverpb.Auth/UserGrantRole" => of::<pb::AuthUserGrantRoleResponse>(bytes),
        "/etcdserverpb.Auth/UserRevokeRole" => of::<pb::AuthUserRevokeRoleResponse>(bytes),
        "/etcdserverpb.Auth/RoleAdd" => of::<pb::AuthRoleAddResponse>(bytes),
        "/etcdserverpb.Auth/RoleGet" => of::<pb::AuthRoleGetResponse>(bytes),
        "/etcdserverpb.Auth/RoleList" => of::<pb::AuthRoleListResponse>(bytes),
        "/etcdserverpb.Auth/RoleDelete" => of::<pb::AuthRoleDeleteResponse>(bytes),
        "/etcdserverpb.Auth/RoleGrantPermission" => {
            of::<pb::AuthRoleGrantPermissionResponse>(bytes)
        }
        "/etcdserverpb.Auth/RoleRevokePermission" => {
            of::<pb::AuthRoleRevokePermissionResponse>(bytes)
        }
        "/etcdserverpb.Maintenance/MoveLeader" => of::<pb::MoveLeaderResponse>(bytes),
        "/etcdserverpb.Maintenance/Status" => {
            let status: pb::StatusResponse = masked(bytes);
            format!(
                "{:?} and {:?}, learner: {}",
                status.header, status.errors, status.is_learner
            )
        }
        _ => panic!("{path}: say what of its answer two clusters share"),
    }
}

/// Without the ids of the cluster and the member, and without the term.
fn masked<M: Headed + Message + Default>(bytes: &[u8]) -> M {
    let message = M::decode(bytes).expect("an answer of its kind");
    match message.header().map(|header| header.revision) {
        Some(revision) => message.with_header(pb::ResponseHeader {
            revision,
            ..Default::default()
        }),
        None => message,
    }
}
