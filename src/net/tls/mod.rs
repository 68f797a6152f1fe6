//! TLS: what a side presents and whom it believes, named as files that are read anew when they
//! change.
//!
//! [`server`] and [`client`] are the two sides of a handshake, [`settings`] the versions and cipher
//! suites, [`files`] reads PEM and DER, [`reload`] keeps what was read until the files change,
//! [`verify`] judges certificates where rustls alone is stricter or laxer than etcd, [`names`] reads
//! what a certificate says of its owner, [`san`] holds it against an address, [`explain`] finds the
//! words for what went wrong, and [`self_signed`] makes certificates.

mod client;
mod explain;
mod files;
mod names;
mod reload;
mod san;
mod self_signed;
mod server;
mod settings;
mod verify;

#[cfg(test)]
mod tests;

pub use client::{Alpn, ClientFiles, TlsClient};
pub use explain::late_alert;
pub use files::{PairFiles, TlsError};
pub use self_signed::{SelfSigned, self_signed};
pub use server::{ClientRules, HandshakeError, Secured, Security, ServerFiles, TlsServer};
pub use settings::{TlsSettings, TlsVersion};

use std::path::PathBuf;
use std::sync::Arc;

/// What the other side's certificate says of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerName {
    pub common_name: Option<Arc<str>>,
}

/// When the certificates of a file end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileExpiry {
    pub path: PathBuf,
    /// Seconds since 1970, of the certificate in it that ends first.
    pub not_after: i64,
}

/// What a side knows of its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesReport {
    pub expiries: Vec<FileExpiry>,
    /// Changed files that could not be used, so that the older ones stay.
    pub failures: u64,
}
