//! What a member shows to the world: one port for clients (gRPC and HTTP together) and one for
//! other members, both in front of the driver's [`Handle`].
//!
//! [`listen`] owns connections, [`client_port`] tells gRPC from HTTP, [`grpc`] frames
//! the messages of [`detcd_service`], [`http2`] mends requests that the HTTP/2 library would reset,
//! [`receive`] bounds messages, [`http`] has the paths for people and probes, [`peer`] the port of
//! the other members, [`proxy`] the port of a process that is no member. Nothing here knows of raft or of storage.

mod call_count;
mod client_port;
mod deadline;
mod grpc;
mod http;
mod http2;
mod leader_seen;
mod listen;
mod metrics;
mod peer;
pub(crate) mod proxy;
mod receive;
mod takeover;
mod tls;

pub use listen::Listening;
pub use tls::TlsSides;

use crate::config::Config;
use detcd_core::v2::Dialect;
use detcd_driver::Handle;
use detcd_net::{ConnectionLimit, Listener};
use detcd_peer::Receiver;
use detcd_service::{Service, ServiceOptions, TokenKind};
use leader_seen::LeaderHistory;
use listen::{Port, Tuning};
use metrics::Metrics;
use std::sync::Arc;
use std::time::Duration;

/// How the servers behave.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    pub max_request_bytes: usize,
    pub max_concurrent_streams: u32,
    pub keepalive_interval: Option<Duration>,
    pub keepalive_timeout: Duration,
    pub election_timeout: Duration,
    pub quota_backend_bytes: Option<u64>,
    /// What hashing a password costs.
    pub bcrypt_cost: u32,
    pub tokens: TokenKind,
    /// The version of etcd that clients are told.
    pub etcd_version: String,
    pub cors: Vec<String>,
    /// Names by which requests without TLS may call this member; empty for any.
    pub host_whitelist: Vec<String>,
    pub enable_grpc_gateway: bool,
    pub enable_v2: bool,
    /// Whose v2 API is served.
    pub v2_dialect: Dialect,
    pub extensive_metrics: bool,
    /// Connections of clients at a time.
    pub client_connections_max: usize,
    /// Connections of other members at a time.
    pub peer_connections_max: usize,
    /// Whether a client is who its certificate says, if it says nothing else.
    pub client_cert_auth: bool,
    /// What the ports have of TLS.
    pub tls: TlsSides,
}

impl ServerOptions {
    pub fn of(config: &Config) -> ServerOptions {
        ServerOptions {
            max_request_bytes: config.max_request_bytes,
            max_concurrent_streams: config.max_concurrent_streams,
            keepalive_interval: config.keepalive_interval,
            keepalive_timeout: config.keepalive_timeout,
            election_timeout: config.election_timeout,
            quota_backend_bytes: config.quota_backend_bytes,
            bcrypt_cost: config.auth.bcrypt_cost,
            tokens: TokenKind::Simple,
            etcd_version: config.etcd_version.clone(),
            cors: config.cors.clone(),
            host_whitelist: config.host_whitelist.clone(),
            enable_grpc_gateway: config.enable_grpc_gateway,
            enable_v2: config.enable_v2,
            v2_dialect: config.v2_dialect,
            extensive_metrics: config.extensive_metrics,
            client_connections_max: usize::MAX,
            peer_connections_max: usize::MAX,
            client_cert_auth: config.tls.client.client_cert_auth,
            tls: TlsSides::default(),
        }
    }

    /// What of it the service needs.
    pub fn service(&self) -> ServiceOptions {
        ServiceOptions {
            etcd_version: self.etcd_version.clone(),
            quota_backend_bytes: self.quota_backend_bytes,
            election_timeout: self.election_timeout,
            bcrypt_cost: self.bcrypt_cost,
            tokens: self.tokens.clone(),
            v2_dialect: self.v2_dialect,
        }
    }
}

/// What the ports of one member share.
pub(crate) struct Context {
    pub handle: Handle,
    pub service: Service,
    pub options: ServerOptions,
    pub metrics: Metrics,
    pub leaders: LeaderHistory,
}

/// The servers of one member. They stop when [`Servers::stop`] says so; a drop leaves them on.
pub struct Servers {
    clients: Vec<Listening>,
    peers: Vec<Listening>,
}

impl Servers {
    /// Serves clients and other members on sockets that are bound already.
    pub fn start(
        handle: Handle,
        receiver: Arc<dyn Receiver>,
        options: ServerOptions,
        clients: Vec<Listener>,
        peers: Vec<Listener>,
    ) -> Servers {
        let service = Service::new(handle.clone(), options.service());
        let metrics = Metrics::new(&handle, &service, options.extensive_metrics);
        let changes = metrics.leader_changes.clone();
        let leaders = LeaderHistory::follow(&handle, move || changes.inc());
        let context = Arc::new(Context {
            handle,
            service,
            options,
            metrics,
            leaders,
        });
        let client_service = client_port::ClientPort::new(context.clone());
        let peer_service = peer::PeerPort::new(context.clone(), receiver);
        let options = &context.options;
        let client_port = Port {
            tuning: Tuning::of_clients(options),
            limit: ConnectionLimit::new("clients", options.client_connections_max),
            traffic: Some(context.metrics.client_traffic()),
        };
        let peer_port = Port {
            tuning: Tuning::of_peers(options),
            limit: ConnectionLimit::new("other members", options.peer_connections_max),
            traffic: None,
        };
        let serve_client = |listener| client_port.serve(listener, client_service.clone());
        let serve_peer = |listener| peer_port.serve(listener, peer_service.clone());
        Servers {
            clients: clients.into_iter().map(serve_client).collect(),
            peers: peers.into_iter().map(serve_peer).collect(),
        }
    }

    /// Takes no more clients and lets requests under way end, but not for long.
    pub async fn stop_clients(&mut self) {
        stop_all(std::mem::take(&mut self.clients)).await;
    }

    /// Leaves the other members.
    pub async fn stop_peers(&mut self) {
        stop_all(std::mem::take(&mut self.peers)).await;
    }
}

async fn stop_all(listening: Vec<Listening>) {
    futures::future::join_all(listening.into_iter().map(Listening::stop)).await;
}
