//! What detcd says on the wire: etcd's protobuf messages ([`etcdserverpb`], [`mvccpb`],
//! [`authpb`], [`v3lockpb`], [`v3electionpb`]), their conversions to and from the core's domain types, and the one table of error
//! codes and texts ([`status`]).
//!
//! Requests become domain types by `TryFrom`, which is where a request that means nothing (an empty
//! key, an unknown sort option) is refused; what depends on limits or state is validated in core.
//! Replies become messages by `From`; a reply's header is added by whoever knows it ([`header::Headed`]).
//!
//! With the feature `grpc`, tonic's clients and servers are generated beside the messages. The
//! simulator does without them.

pub mod alarm;
pub mod header;
pub mod kv;
pub mod status;
pub mod watch;

mod auth;
mod cluster;
mod lease;
mod txn;

#[cfg(test)]
mod tests;

/// Keys, values and events.
pub mod mvccpb {
    include!(concat!(env!("OUT_DIR"), "/mvccpb.rs"));
}

/// Users, roles and permissions.
pub mod authpb {
    include!(concat!(env!("OUT_DIR"), "/authpb.rs"));
}

/// Requests, responses and services.
pub mod etcdserverpb {
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
}

/// Locks.
pub mod v3lockpb {
    include!(concat!(env!("OUT_DIR"), "/v3lockpb.rs"));
}

/// Elections.
pub mod v3electionpb {
    include!(concat!(env!("OUT_DIR"), "/v3electionpb.rs"));
}

/// The encoded `FileDescriptorSet` of all the above, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
