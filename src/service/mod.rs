//! What etcd's v3 API does, free of any transport.
//!
//! Every method is a function of (who asks, message) to a reply or a typed error. A transport looks
//! the method up in the one table ([`method`]), reads the [`Caller`] from what came with the call,
//! and hands the encoded message to [`Service::unary`], [`Service::server_stream`] or
//! [`Service::bidi_stream`], by how the method streams. It encodes the [`Reply`] and translates the
//! [`CallError`], and decides nothing.
//!
//! Behind that there is a file for each of etcd's services (`kv`, `watch`, `lease`, `cluster`,
//! `maintenance`, `lock`, `election`) and one for probes (`health`): which fields a reply carries, which error a request
//! gets, and what a member does without a leader stand there. They ask the driver's [`Handle`] and
//! know of nothing below it.

mod auth;
mod caller;
mod cluster;
mod concurrency;
mod dispatch;
mod election;
mod error;
pub mod health;
mod kv;
mod lease;
mod lock;
mod maintenance;
pub mod method;
mod password;
mod reply;
mod snapshot;
mod tokens;
mod v2;
mod v2_auth;
mod v2_members;
mod watch;

pub use caller::{Caller, Credentials};
pub use dispatch::{Messages, Replies};
pub use error::{CallError, ConcurrencyError, Failure};
pub use method::{METHODS, Method, Rpc, Streaming};
pub use password::Passwords;
pub use reply::Reply;
pub use tokens::{SignedTokens, TokenKind};
pub use v2::{KeysBody, KeysMethod, KeysReply, KeysRequest};
pub use v2_auth::{V2AuthError, V2UserRequest};

use detcd_core::error::Error;
use detcd_core::v2::Dialect;
use detcd_driver::stats::{Counter, Gauge};
use detcd_driver::{Handle, Header};
use detcd_wire::etcdserverpb as pb;
use method::OnLearner;
use std::sync::Arc;
use std::time::Duration;

/// What a member says of itself, and its timing.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// The version of etcd that clients are told.
    pub etcd_version: String,
    pub quota_backend_bytes: Option<u64>,
    pub election_timeout: Duration,
    /// Whose v2 API is served.
    pub v2_dialect: Dialect,
    /// What hashing a password costs: each step doubles the time.
    pub bcrypt_cost: u32,
    pub tokens: TokenKind,
}

impl ServiceOptions {
    /// The version of the cluster: etcd names the minor version and no patch.
    pub fn cluster_version(&self) -> String {
        let minor = self
            .etcd_version
            .rsplit_once('.')
            .map_or("0.0", |(minor, _)| minor);
        format!("{minor}.0")
    }
}

/// What the services count, for the metrics page.
#[derive(Default)]
pub struct Counts {
    /// Writes whose outcome is unknown.
    pub proposals_failed: Counter,
    /// Open watch streams.
    pub watch_streams: Gauge,
}

/// etcd's API on one member. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    handle: Handle,
    options: ServiceOptions,
    counts: Counts,
    passwords: Passwords,
}

impl Service {
    pub fn new(handle: Handle, options: ServiceOptions) -> Service {
        let counts = Counts::default();
        let passwords = Passwords::new(options.bcrypt_cost);
        let inner = Arc::new(Inner {
            handle,
            options,
            counts,
            passwords,
        });
        Service { inner }
    }

    pub fn options(&self) -> &ServiceOptions {
        &self.inner.options
    }

    pub fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    pub fn passwords(&self) -> &Passwords {
        &self.inner.passwords
    }

    /// Decides whether this member takes a call at all. In etcd, too, a learner refuses first: one that
    /// had lost its leader still said that it is a learner (3.5.1, asked).
    pub fn check(&self, method: &Method, caller: &Caller) -> Result<(), Error> {
        let handle = &self.inner.handle;
        if method.on_learner == OnLearner::Refuses && handle.is_learner() {
            return Err(Error::LearnerUnsupported);
        }
        if caller.requires_leader && !handle.has_leader() {
            return Err(Error::NoLeader);
        }
        Ok(())
    }

    fn admit(&self, method: &'static Method, caller: Caller) -> Result<Call, Error> {
        self.check(method, &caller)?;
        let client = auth::Client {
            service: self.clone(),
            credentials: caller.credentials,
        };
        Ok(Call {
            handle: self.inner.handle.for_client(Arc::new(client)),
            service: self.clone(),
            method,
            requires_leader: caller.requires_leader,
        })
    }
}

/// One admitted call: the member that is asked, what it is asked, and by whom.
#[derive(Clone)]
struct Call {
    service: Service,
    method: &'static Method,
    /// The member, asked on behalf of the client.
    handle: Handle,
    requires_leader: bool,
}

impl Call {
    fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// A header as it is encoded.
fn response_header(header: Header) -> Option<pb::ResponseHeader> {
    Some(detcd_wire::header::header(
        header.cluster_id,
        header.member_id,
        header.revision,
        header.raft_term,
    ))
}
