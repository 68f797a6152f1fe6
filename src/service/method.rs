//! The one table of methods. Whoever needs to know something about a method (admission, metrics,
//! deadlines, the simulator's clients) asks it here.

/// How the messages of a call flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streaming {
    /// One message, one reply.
    Unary,
    /// One message, any number of replies.
    Server,
    /// Any number of both, at any time.
    Bidi,
}

impl Streaming {
    /// As go-grpc-prometheus labels it.
    pub fn label(self) -> &'static str {
        match self {
            Streaming::Unary => "unary",
            Streaming::Server => "server_stream",
            Streaming::Bidi => "bidi_stream",
        }
    }
}

/// What a call does to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Reads,
    /// It may change what is stored, who is a member or who leads: without an answer its outcome is
    /// unknown.
    Changes,
}

/// What a learner does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLearner {
    Serves,
    /// It serves what needs no leader; whether this does, the message says.
    ServesSerializable,
    Refuses,
}

/// What a member without a leader does with a call whose client does not require one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutLeader {
    /// It answers by what it knows itself.
    Serves,
    /// It answers what is serializable, which the message says; the rest waits for a leader.
    ServesSerializable,
    /// It waits for a leader and then fails, or fails at once.
    Fails,
}

/// Who may call, while authentication is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nobody has to say who it is.
    Anyone,
    /// Any user.
    User,
    /// Users with the role root.
    Admin,
    /// The core judges what the message asks for: a command when it is applied, a read by the view
    /// that it reads, a watcher as long as there is one.
    Judged,
}

/// A method of the client port.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    pub rpc: Rpc,
    /// With its package, as `etcdserverpb.KV`.
    pub service: &'static str,
    pub name: &'static str,
    /// gRPC's path.
    pub path: &'static str,
    pub streaming: Streaming,
    pub effect: Effect,
    pub on_learner: OnLearner,
    pub without_leader: WithoutLeader,
    pub access: Access,
}

impl Method {
    /// Whether its replies may go on coming after the head of the response.
    pub fn streams(&self) -> bool {
        self.streaming != Streaming::Unary
    }

    /// Its place in [`METHODS`].
    pub fn index(&self) -> usize {
        self.rpc as usize
    }

    /// The method with this gRPC path.
    pub fn find(path: &str) -> Option<&'static Method> {
        METHODS.iter().find(|method| method.path == path)
    }
}

macro_rules! methods {
    ($($rpc:ident = $service:literal $name:literal
        $streaming:ident $effect:ident $on_learner:ident $without_leader:ident $access:ident;)*) => {
        /// The methods by name, in the table's order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Rpc {
            $($rpc,)*
        }

        /// Every method of the client port, the busiest first: [`Method::find`] looks from the front.
        pub static METHODS: &[Method] = &[$(Method {
            rpc: Rpc::$rpc,
            service: $service,
            name: $name,
            path: concat!("/", $service, "/", $name),
            streaming: Streaming::$streaming,
            effect: Effect::$effect,
            on_learner: OnLearner::$on_learner,
            without_leader: WithoutLeader::$without_leader,
            access: Access::$access,
        },)*];
    };
}

// Columns: streaming, effect, what a learner does, what a member without a leader does, who may.
methods! {
    Put = "etcdserverpb.KV" "Put" Unary Changes Refuses Fails Judged;
    Range = "etcdserverpb.KV" "Range" Unary Reads ServesSerializable ServesSerializable Judged;
    Txn = "etcdserverpb.KV" "Txn" Unary Changes Refuses ServesSerializable Judged;
    DeleteRange = "etcdserverpb.KV" "DeleteRange" Unary Changes Refuses Fails Judged;
    Watch = "etcdserverpb.Watch" "Watch" Bidi Reads Refuses Serves Judged;
    LeaseKeepAlive = "etcdserverpb.Lease" "LeaseKeepAlive" Bidi Changes Refuses Fails Judged;
    LeaseGrant = "etcdserverpb.Lease" "LeaseGrant" Unary Changes Refuses Fails Judged;
    LeaseRevoke = "etcdserverpb.Lease" "LeaseRevoke" Unary Changes Refuses Fails Judged;
    LeaseTimeToLive = "etcdserverpb.Lease" "LeaseTimeToLive" Unary Reads Refuses Fails Judged;
    LeaseLeases = "etcdserverpb.Lease" "LeaseLeases" Unary Reads Refuses Serves User;
    Compact = "etcdserverpb.KV" "Compact" Unary Changes Refuses Fails Judged;
    RangeStream = "etcdserverpb.KV" "RangeStream" Server Reads Refuses ServesSerializable Judged;
    MemberList = "etcdserverpb.Cluster" "MemberList" Unary Reads Refuses ServesSerializable User;
    MemberAdd = "etcdserverpb.Cluster" "MemberAdd" Unary Changes Refuses Fails Admin;
    MemberRemove = "etcdserverpb.Cluster" "MemberRemove" Unary Changes Refuses Fails Admin;
    MemberUpdate = "etcdserverpb.Cluster" "MemberUpdate" Unary Changes Refuses Fails Admin;
    MemberPromote = "etcdserverpb.Cluster" "MemberPromote" Unary Changes Refuses Fails Admin;
    Status = "etcdserverpb.Maintenance" "Status" Unary Reads Serves Serves Anyone;
    Alarm = "etcdserverpb.Maintenance" "Alarm" Unary Changes Refuses Fails Judged;
    HashKv = "etcdserverpb.Maintenance" "HashKV" Unary Reads Refuses Serves Admin;
    Hash = "etcdserverpb.Maintenance" "Hash" Unary Reads Refuses Serves Admin;
    Defragment = "etcdserverpb.Maintenance" "Defragment" Unary Changes Refuses Serves Admin;
    MoveLeader = "etcdserverpb.Maintenance" "MoveLeader" Unary Changes Refuses Fails Admin;
    Downgrade = "etcdserverpb.Maintenance" "Downgrade" Unary Changes Refuses Fails Admin;
    Snapshot = "etcdserverpb.Maintenance" "Snapshot" Server Reads Serves Serves Admin;
    AuthStatus = "etcdserverpb.Auth" "AuthStatus" Unary Reads Refuses Fails Anyone;
    Authenticate = "etcdserverpb.Auth" "Authenticate" Unary Changes Refuses Fails Anyone;
    AuthEnable = "etcdserverpb.Auth" "AuthEnable" Unary Changes Refuses Fails Judged;
    AuthDisable = "etcdserverpb.Auth" "AuthDisable" Unary Changes Refuses Fails Judged;
    UserAdd = "etcdserverpb.Auth" "UserAdd" Unary Changes Refuses Fails Judged;
    UserGet = "etcdserverpb.Auth" "UserGet" Unary Reads Refuses Fails Judged;
    UserList = "etcdserverpb.Auth" "UserList" Unary Reads Refuses Fails Judged;
    UserDelete = "etcdserverpb.Auth" "UserDelete" Unary Changes Refuses Fails Judged;
    UserChangePassword = "etcdserverpb.Auth" "UserChangePassword" Unary Changes Refuses Fails Judged;
    UserGrantRole = "etcdserverpb.Auth" "UserGrantRole" Unary Changes Refuses Fails Judged;
    UserRevokeRole = "etcdserverpb.Auth" "UserRevokeRole" Unary Changes Refuses Fails Judged;
    RoleAdd = "etcdserverpb.Auth" "RoleAdd" Unary Changes Refuses Fails Judged;
    RoleGet = "etcdserverpb.Auth" "RoleGet" Unary Reads Refuses Fails Judged;
    RoleList = "etcdserverpb.Auth" "RoleList" Unary Reads Refuses Fails Judged;
    RoleDelete = "etcdserverpb.Auth" "RoleDelete" Unary Changes Refuses Fails Judged;
    RoleGrantPermission = "etcdserverpb.Auth" "RoleGrantPermission" Unary Changes Refuses Fails Judged;
    RoleRevokePermission = "etcdserverpb.Auth" "RoleRevokePermission" Unary Changes Refuses Fails Judged;
    Lock = "v3lockpb.Lock" "Lock" Unary Changes Refuses Fails Judged;
    Unlock = "v3lockpb.Lock" "Unlock" Unary Changes Refuses Fails Judged;
    Campaign = "v3electionpb.Election" "Campaign" Unary Changes Refuses Fails Judged;
    Proclaim = "v3electionpb.Election" "Proclaim" Unary Changes Refuses Fails Judged;
    Leader = "v3electionpb.Election" "Leader" Unary Reads Refuses Fails Judged;
    Observe = "v3electionpb.Election" "Observe" Server Reads Refuses Fails Judged;
    Resign = "v3electionpb.Election" "Resign" Unary Changes Refuses Fails Judged;
    // gRPC's own services, which its framing answers itself.
    HealthCheck = "grpc.health.v1.Health" "Check" Unary Reads Refuses Serves Anyone;
    HealthWatch = "grpc.health.v1.Health" "Watch" Server Reads Refuses Serves Anyone;
    Reflection = "grpc.reflection.v1.ServerReflection" "ServerReflectionInfo"
        Bidi Reads Serves Serves Anyone;
    ReflectionAlpha = "grpc.reflection.v1alpha.ServerReflection" "ServerReflectionInfo"
        Bidi Reads Serves Serves Anyone;
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use prost_types::FileDescriptorSet;
    use std::collections::BTreeSet;

    /// Service, method and streaming kind, as the descriptors have them.
    fn described() -> BTreeSet<(String, String, &'static str)> {
        let files = FileDescriptorSet::decode(detcd_wire::DESCRIPTORS).expect("descriptors");
        let mut found = BTreeSet::new();
        for file in &files.file {
            for service in &file.service {
                for method in &service.method {
                    let streaming = match (method.client_streaming(), method.server_streaming()) {
                        (false, false) => Streaming::Unary,
                        (false, true) => Streaming::Server,
                        (true, true) => Streaming::Bidi,
                        (true, false) => panic!("etcd has no method that streams requests alone"),
                    };
                    let service = format!("{}.{}", file.package(), service.name());
                    found.insert((service, method.name().to_owned(), streaming.label()));
                }
            }
        }
        found
    }

    #[test]
    fn the_table_has_every_method_of_the_proto_files() {
        let etcds = METHODS.iter().filter(|it| !it.service.starts_with("grpc."));
        let table: BTreeSet<_> = etcds
            .map(|it| {
                (
                    it.service.to_owned(),
                    it.name.to_owned(),
                    it.streaming.label(),
                )
            })
            .collect();
        assert_eq!(table, described());
    }

    #[test]
    fn methods_are_found_by_their_paths_and_stand_at_their_index() {
        for (index, method) in METHODS.iter().enumerate() {
            assert_eq!(method.index(), index);
            assert_eq!(Method::find(method.path), Some(method));
        }
        assert_eq!(Method::find("/etcdserverpb.KV/Nothing"), None);
    }
}
