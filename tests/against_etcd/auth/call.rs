//! Requests that clients make in one name or another, and what comes back, as one line.

use crate::cluster::Node;
use detcd_wire::{authpb, etcdserverpb as pb};
use pb::auth_client::AuthClient;
use pb::cluster_client::ClusterClient;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use std::collections::BTreeMap;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// One request of one message and one answer.
#[derive(Clone, Debug)]
pub enum Ask {
    Enable,
    Disable,
    AuthStatus,
    Authenticate(pb::AuthenticateRequest),
    UserAdd(pb::AuthUserAddRequest),
    UserGet(String),
    UserList,
    UserDelete(String),
    Passwd(pb::AuthUserChangePasswordRequest),
    Grant(String, String),
    Revoke(String, String),
    RoleAdd(String),
    RoleGet(String),
    RoleList,
    RoleDelete(String),
    Permit(pb::AuthRoleGrantPermissionRequest),
    Forbid(pb::AuthRoleRevokePermissionRequest),
    Range(pb::RangeRequest),
    Put(pb::PutRequest),
    Delete(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
    Compact(pb::CompactionRequest),
    LeaseGrant(i64),
    LeaseRevoke(i64),
    TimeToLive(pb::LeaseTimeToLiveRequest),
    Leases,
    Members,
    MemberAdd,
    MemberRemove,
    MemberUpdate,
    MemberPromote,
    Status,
    Alarm(pb::AlarmRequest),
    Defragment,
    Hash,
    HashKv,
    MoveLeader,
}

/// A member, and the tokens that it has given.
pub struct Asked {
    channel: Channel,
    tokens: BTreeMap<String, String>,
}

/// What is the member's own is left out.
fn header(header: &mut Option<pb::ResponseHeader>) {
    if let Some(header) = header {
        (header.cluster_id, header.member_id, header.raft_term) = (0, 0, 0);
    }
}

macro_rules! asked {
    ($asked:ident, $who:ident, $client:ident, $method:ident, $message:expr) => {
        asked!($asked, $who, $client, $method, $message, |_| {})
    };
    ($asked:ident, $who:ident, $client:ident, $method:ident, $message:expr, $hide:expr) => {{
        let mut client = $client::new($asked.channel.clone());
        match client.$method($asked.request($who, $message)).await {
            Ok(reply) => {
                let mut reply = reply.into_inner();
                header(&mut reply.header);
                let hide: fn(&mut _) = $hide;
                hide(&mut reply);
                format!("{reply:?}")
            }
            Err(status) => error(&status),
        }
    }};
}

pub fn error(status: &Status) -> String {
    format!("{:?} {}", status.code(), status.message())
}

impl Asked {
    pub fn new(node: &Node) -> Asked {
        Asked {
            channel: node.channel(),
            tokens: BTreeMap::new(),
        }
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Nobody has no name. Of whom there is no token, the name is what is shown.
    pub fn request<T>(&self, who: &str, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if !who.is_empty() {
            let token = self.tokens.get(who).map_or(who, |token| token);
            let token = token.parse().expect("text");
            request.metadata_mut().insert("token", token);
        }
        request
    }

    /// The token of `who`, by the password.
    pub async fn login(&mut self, who: &str, password: &str) {
        let request = pb::AuthenticateRequest {
            name: who.to_owned(),
            password: password.to_owned(),
        };
        let mut client = AuthClient::new(self.channel.clone());
        let reply = client.authenticate(request).await.expect("a token");
        self.tokens.insert(who.to_owned(), reply.into_inner().token);
    }

    /// What `who` has is known by another name, too.
    pub fn keep(&mut self, who: &str, name: &str) {
        let token = self.tokens[who].clone();
        self.tokens.insert(name.to_owned(), token);
    }

    pub async fn ask(&mut self, who: &str, ask: Ask) -> String {
        match ask {
            Ask::Range(message) => asked!(self, who, KvClient, range, message),
            Ask::Put(message) => asked!(self, who, KvClient, put, message),
            Ask::Delete(message) => asked!(self, who, KvClient, delete_range, message),
            Ask::Txn(message) => {
                asked!(
                    self,
                    who,
                    KvClient,
                    txn,
                    message,
                    |it: &mut pb::TxnResponse| { hide_headers(it) }
                )
            }
            Ask::Compact(message) => asked!(self, who, KvClient, compact, message),
            Ask::LeaseGrant(id) => {
                let message = pb::LeaseGrantRequest { ttl: 600, id };
                asked!(self, who, LeaseClient, lease_grant, message)
            }
            Ask::LeaseRevoke(id) => {
                let message = pb::LeaseRevokeRequest { id };
                asked!(self, who, LeaseClient, lease_revoke, message)
            }
            Ask::TimeToLive(message) => {
                let hide = |it: &mut pb::LeaseTimeToLiveResponse| {
                    it.ttl = it.ttl.min(1);
                    it.keys.sort();
                };
                asked!(self, who, LeaseClient, lease_time_to_live, message, hide)
            }
            Ask::Leases => {
                let hide = |it: &mut pb::LeaseLeasesResponse| it.leases.sort_by_key(|it| it.id);
                let message = pb::LeaseLeasesRequest {};
                asked!(self, who, LeaseClient, lease_leases, message, hide)
            }
            ask => self.ask_others(who, ask).await,
        }
    }

    /// Calls of the cluster and of maintenance.
    async fn ask_others(&mut self, who: &str, ask: Ask) -> String {
        // A member that is not there, and an address that is not free.
        let (id, url) = (77, "http://127.0.0.1:9".to_owned());
        match ask {
            Ask::Members => {
                let message = pb::MemberListRequest { linearizable: true };
                let hide = |it: &mut pb::MemberListResponse| it.members.clear();
                asked!(self, who, ClusterClient, member_list, message, hide)
            }
            Ask::MemberAdd => {
                let message = pb::MemberAddRequest {
                    peer_urls: vec!["nowhere".to_owned()],
                    is_learner: true,
                };
                asked!(self, who, ClusterClient, member_add, message)
            }
            Ask::MemberRemove => {
                let message = pb::MemberRemoveRequest { id };
                asked!(self, who, ClusterClient, member_remove, message)
            }
            Ask::MemberUpdate => {
                let peer_urls = vec![url];
                let message = pb::MemberUpdateRequest { id, peer_urls };
                asked!(self, who, ClusterClient, member_update, message)
            }
            Ask::MemberPromote => {
                let message = pb::MemberPromoteRequest { id };
                asked!(self, who, ClusterClient, member_promote, message)
            }
            Ask::Status => {
                let hide = |it: &mut pb::StatusResponse| *it = pb::StatusResponse::default();
                let message = pb::StatusRequest {};
                asked!(self, who, MaintenanceClient, status, message, hide)
            }
            Ask::Alarm(message) => asked!(self, who, MaintenanceClient, alarm, message),
            Ask::Defragment => {
                let message = pb::DefragmentRequest {};
                asked!(self, who, MaintenanceClient, defragment, message)
            }
            Ask::Hash => {
                let hide = |it: &mut pb::HashResponse| it.hash = 0;
                asked!(self, who, MaintenanceClient, hash, pb::HashRequest {}, hide)
            }
            Ask::HashKv => {
                let hide = |it: &mut pb::HashKvResponse| *it = pb::HashKvResponse::default();
                let message = pb::HashKvRequest { revision: 0 };
                asked!(self, who, MaintenanceClient, hash_kv, message, hide)
            }
            Ask::MoveLeader => {
                let message = pb::MoveLeaderRequest { target_id: 77 };
                asked!(self, who, MaintenanceClient, move_leader, message)
            }
            ask => self.ask_auth(who, ask).await,
        }
    }

    async fn ask_auth(&mut self, who: &str, ask: Ask) -> String {
        match ask {
            Ask::Enable => {
                let message = pb::AuthEnableRequest {};
                asked!(self, who, AuthClient, auth_enable, message)
            }
            Ask::Disable => {
                let message = pb::AuthDisableRequest {};
                asked!(self, who, AuthClient, auth_disable, message)
            }
            Ask::AuthStatus => {
                let message = pb::AuthStatusRequest {};
                asked!(self, who, AuthClient, auth_status, message)
            }
            Ask::Authenticate(message) => {
                let hide = |it: &mut pb::AuthenticateResponse| it.token.truncate(0);
                asked!(self, who, AuthClient, authenticate, message, hide)
            }
            Ask::UserAdd(message) => asked!(self, who, AuthClient, user_add, message),
            Ask::UserGet(name) => {
                let message = pb::AuthUserGetRequest { name };
                asked!(self, who, AuthClient, user_get, message)
            }
            Ask::UserList => {
                let message = pb::AuthUserListRequest {};
                asked!(self, who, AuthClient, user_list, message)
            }
            Ask::UserDelete(name) => {
                let message = pb::AuthUserDeleteRequest { name };
                asked!(self, who, AuthClient, user_delete, message)
            }
            Ask::Passwd(message) => {
                asked!(self, who, AuthClient, user_change_password, message)
            }
            Ask::Grant(user, role) => {
                let message = pb::AuthUserGrantRoleRequest { user, role };
                asked!(self, who, AuthClient, user_grant_role, message)
            }
            Ask::Revoke(name, role) => {
                let message = pb::AuthUserRevokeRoleRequest { name, role };
                asked!(self, who, AuthClient, user_revoke_role, message)
            }
            ask => self.ask_roles(who, ask).await,
        }
    }

    async fn ask_roles(&mut self, who: &str, ask: Ask) -> String {
        match ask {
            Ask::RoleAdd(name) => {
                let message = pb::AuthRoleAddRequest { name };
                asked!(self, who, AuthClient, role_add, message)
            }
            Ask::RoleGet(role) => {
                let message = pb::AuthRoleGetRequest { role };
                asked!(self, who, AuthClient, role_get, message)
            }
            Ask::RoleList => {
                let message = pb::AuthRoleListRequest {};
                asked!(self, who, AuthClient, role_list, message)
            }
            Ask::RoleDelete(role) => {
                let message = pb::AuthRoleDeleteRequest { role };
                asked!(self, who, AuthClient, role_delete, message)
            }
            Ask::Permit(message) => {
                asked!(self, who, AuthClient, role_grant_permission, message)
            }
            Ask::Forbid(message) => {
                asked!(self, who, AuthClient, role_revoke_permission, message)
            }
            other => unreachable!("{other:?}"),
        }
    }
}

/// Parts of a transaction have headers of their own.
fn hide_headers(reply: &mut pb::TxnResponse) {
    use pb::response_op::Response;
    for op in &mut reply.responses {
        match &mut op.response {
            Some(Response::ResponseRange(it)) => header(&mut it.header),
            Some(Response::ResponsePut(it)) => header(&mut it.header),
            Some(Response::ResponseDeleteRange(it)) => header(&mut it.header),
            Some(Response::ResponseTxn(it)) => {
                header(&mut it.header);
                hide_headers(it);
            }
            None => {}
        }
    }
}

pub fn user(name: &str, password: &str) -> Ask {
    Ask::UserAdd(pb::AuthUserAddRequest {
        name: name.to_owned(),
        password: password.to_owned(),
        ..Default::default()
    })
}

pub fn no_password(name: &str) -> Ask {
    Ask::UserAdd(pb::AuthUserAddRequest {
        name: name.to_owned(),
        options: Some(authpb::UserAddOptions { no_password: true }),
        ..Default::default()
    })
}

pub fn authenticate(name: &str, password: &str) -> Ask {
    Ask::Authenticate(pb::AuthenticateRequest {
        name: name.to_owned(),
        password: password.to_owned(),
    })
}

pub fn passwd(name: &str, password: &str) -> Ask {
    Ask::Passwd(pb::AuthUserChangePasswordRequest {
        name: name.to_owned(),
        password: password.to_owned(),
        hashed_password: String::new(),
    })
}

pub fn grant(user: &str, role: &str) -> Ask {
    Ask::Grant(user.to_owned(), role.to_owned())
}

pub fn revoke(user: &str, role: &str) -> Ask {
    Ask::Revoke(user.to_owned(), role.to_owned())
}

pub fn role(name: &str) -> Ask {
    Ask::RoleAdd(name.to_owned())
}

/// `kind`: 0 reads, 1 writes, 2 both.
pub fn permit(role: &str, kind: i32, key: &str, end: &str) -> Ask {
    Ask::Permit(pb::AuthRoleGrantPermissionRequest {
        name: role.to_owned(),
        perm: Some(authpb::Permission {
            perm_type: kind,
            key: key.to_owned().into(),
            range_end: end.to_owned().into(),
        }),
    })
}

pub fn forbid(role: &str, key: &str, end: &str) -> Ask {
    Ask::Forbid(pb::AuthRoleRevokePermissionRequest {
        role: role.to_owned(),
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
    })
}

pub fn range(key: &str, end: &str) -> pb::RangeRequest {
    pb::RangeRequest {
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
        ..Default::default()
    }
}

pub fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..Default::default()
    }
}

pub fn delete(key: &str, end: &str) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
        ..Default::default()
    }
}
