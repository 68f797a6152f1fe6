//! The gateway's paths: etcd's, each with the method of gRPC that it stands for. What the messages
//! are, the descriptors say.

use detcd_service::Method;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use std::collections::HashMap;

/// Below `/v3/`.
const PATHS: &[(&str, &str)] = &[
    ("kv/range", "/etcdserverpb.KV/Range"),
    ("kv/put", "/etcdserverpb.KV/Put"),
    ("kv/deleterange", "/etcdserverpb.KV/DeleteRange"),
    ("kv/txn", "/etcdserverpb.KV/Txn"),
    ("kv/compaction", "/etcdserverpb.KV/Compact"),
    ("watch", "/etcdserverpb.Watch/Watch"),
    ("lease/grant", "/etcdserverpb.Lease/LeaseGrant"),
    ("lease/revoke", "/etcdserverpb.Lease/LeaseRevoke"),
    ("kv/lease/revoke", "/etcdserverpb.Lease/LeaseRevoke"),
    ("lease/keepalive", "/etcdserverpb.Lease/LeaseKeepAlive"),
    ("lease/timetolive", "/etcdserverpb.Lease/LeaseTimeToLive"),
    ("kv/lease/timetolive", "/etcdserverpb.Lease/LeaseTimeToLive"),
    ("lease/leases", "/etcdserverpb.Lease/LeaseLeases"),
    ("kv/lease/leases", "/etcdserverpb.Lease/LeaseLeases"),
    ("cluster/member/add", "/etcdserverpb.Cluster/MemberAdd"),
    (
        "cluster/member/remove",
        "/etcdserverpb.Cluster/MemberRemove",
    ),
    (
        "cluster/member/update",
        "/etcdserverpb.Cluster/MemberUpdate",
    ),
    ("cluster/member/list", "/etcdserverpb.Cluster/MemberList"),
    (
        "cluster/member/promote",
        "/etcdserverpb.Cluster/MemberPromote",
    ),
    ("maintenance/alarm", "/etcdserverpb.Maintenance/Alarm"),
    ("maintenance/status", "/etcdserverpb.Maintenance/Status"),
    (
        "maintenance/defragment",
        "/etcdserverpb.Maintenance/Defragment",
    ),
    ("maintenance/hash", "/etcdserverpb.Maintenance/Hash"),
    ("maintenance/hashkv", "/etcdserverpb.Maintenance/HashKV"),
    ("maintenance/snapshot", "/etcdserverpb.Maintenance/Snapshot"),
    (
        "maintenance/transfer-leadership",
        "/etcdserverpb.Maintenance/MoveLeader",
    ),
    (
        "maintenance/downgrade",
        "/etcdserverpb.Maintenance/Downgrade",
    ),
    ("auth/enable", "/etcdserverpb.Auth/AuthEnable"),
    ("auth/disable", "/etcdserverpb.Auth/AuthDisable"),
    ("auth/status", "/etcdserverpb.Auth/AuthStatus"),
    ("auth/authenticate", "/etcdserverpb.Auth/Authenticate"),
    ("auth/user/add", "/etcdserverpb.Auth/UserAdd"),
    ("auth/user/get", "/etcdserverpb.Auth/UserGet"),
    ("auth/user/list", "/etcdserverpb.Auth/UserList"),
    ("auth/user/delete", "/etcdserverpb.Auth/UserDelete"),
    (
        "auth/user/changepw",
        "/etcdserverpb.Auth/UserChangePassword",
    ),
    ("auth/user/grant", "/etcdserverpb.Auth/UserGrantRole"),
    ("auth/user/revoke", "/etcdserverpb.Auth/UserRevokeRole"),
    ("auth/role/add", "/etcdserverpb.Auth/RoleAdd"),
    ("auth/role/get", "/etcdserverpb.Auth/RoleGet"),
    ("auth/role/list", "/etcdserverpb.Auth/RoleList"),
    ("auth/role/delete", "/etcdserverpb.Auth/RoleDelete"),
    ("auth/role/grant", "/etcdserverpb.Auth/RoleGrantPermission"),
    (
        "auth/role/revoke",
        "/etcdserverpb.Auth/RoleRevokePermission",
    ),
    ("lock/lock", "/v3lockpb.Lock/Lock"),
    ("lock/unlock", "/v3lockpb.Lock/Unlock"),
    ("election/campaign", "/v3electionpb.Election/Campaign"),
    ("election/proclaim", "/v3electionpb.Election/Proclaim"),
    ("election/leader", "/v3electionpb.Election/Leader"),
    ("election/observe", "/v3electionpb.Election/Observe"),
    ("election/resign", "/v3electionpb.Election/Resign"),
];

/// What a path leads to.
#[derive(Clone, Debug)]
pub struct Route {
    pub method: &'static Method,
    pub request: MessageDescriptor,
    pub reply: MessageDescriptor,
}

/// The routes by their paths below `/v3/`.
pub struct Routes(HashMap<&'static str, Route>);

impl Routes {
    /// Those of the methods that the member has.
    pub fn new() -> Routes {
        let pool = DescriptorPool::decode(detcd_wire::DESCRIPTORS)
            .expect("descriptors that the build made");
        let routes = PATHS.iter().filter_map(|(path, name)| {
            let method = Method::find(name)?;
            let service = pool.get_service_by_name(method.service)?;
            let described = service.methods().find(|it| it.name() == method.name)?;
            let route = Route {
                method,
                request: described.input(),
                reply: described.output(),
            };
            Some((*path, route))
        });
        Routes(routes.collect())
    }

    pub fn find(&self, path: &str) -> Option<&Route> {
        self.0.get(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use detcd_service::METHODS;
    use prost_reflect::Kind;
    use std::collections::HashSet;

    #[test]
    fn every_method_of_etcd_has_a_path() {
        let routes = Routes::new();
        let routed: HashSet<_> = routes.0.values().map(|route| route.method.path).collect();
        for method in METHODS {
            let is_grpcs = method.service.starts_with("grpc.");
            // etcd has no path for it either.
            let has_none = is_grpcs || method.name == "RangeStream";
            assert_eq!(routed.contains(method.path), !has_none, "{}", method.path);
        }
    }

    /// The reader of JSON knows neither.
    #[test]
    fn no_message_has_maps_or_floats() {
        let routes = Routes::new();
        let mut unseen: Vec<_> = routes
            .0
            .values()
            .map(|route| route.request.clone())
            .collect();
        let mut seen = HashSet::new();
        while let Some(message) = unseen.pop() {
            if !seen.insert(message.full_name().to_owned()) {
                continue;
            }
            for field in message.fields() {
                assert!(!field.is_map() && !field.is_group(), "{field:?}");
                match field.kind() {
                    Kind::Float | Kind::Double => panic!("{field:?}"),
                    Kind::Message(inner) => unseen.push(inner),
                    _ => {}
                }
            }
        }
    }
}
