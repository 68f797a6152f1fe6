//! TLS of a member's ports, as far as the pages show it.

use detcd_net::tls::{FilesReport, TlsClient, TlsServer};
use std::sync::Arc;

/// What a member listens with, and what it calls other members with.
#[derive(Clone, Debug, Default)]
pub struct TlsSides {
    pub clients: Option<Arc<TlsServer>>,
    pub peers: Option<Arc<TlsServer>>,
    pub calls: Option<Arc<TlsClient>>,
}

impl TlsSides {
    pub fn is_empty(&self) -> bool {
        self.clients.is_none() && self.peers.is_none() && self.calls.is_none()
    }

    /// How the files of each side are.
    pub fn reports(&self) -> Vec<FilesReport> {
        let servers = [&self.clients, &self.peers].into_iter().flatten();
        let reports = servers.map(|server| server.report());
        reports
            .chain(self.calls.as_ref().map(|calls| calls.report()))
            .collect()
    }

    /// Handshakes that came to nothing, by port.
    pub fn refused(&self) -> Vec<(&'static str, u64)> {
        let ports = [("client", &self.clients), ("peer", &self.peers)];
        let refused = ports.into_iter().filter_map(|(port, server)| {
            let server = server.as_ref()?;
            Some((port, server.refused()))
        });
        refused.collect()
    }
}
