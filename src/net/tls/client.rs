//! The side that dials.

use super::explain::{self, Client as Explains};
use super::files::{self, PairFiles, Roots, TlsError};
use super::reload::Reloading;
use super::server::{HTTP_2, expiries_of};
use super::settings::TlsSettings;
use super::verify::{AllowedNames, BelievesAll, ServerVerifier};
use super::{FileExpiry, FilesReport};
use crate::address::{Address, Place};
use crate::stream::Stream;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::{TlsConnector, TlsStream};

/// What a client presents, and whom it believes.
#[derive(Clone, Debug, Default)]
pub struct ClientFiles {
    pub pair: Option<PairFiles>,
    /// The servers' authorities; `None` for those that the machine believes.
    pub trusted_ca: Option<PathBuf>,
    /// Whether every server is believed.
    pub believes_all: bool,
    /// The common names that servers may have; all if there are none.
    pub allowed_common_names: Vec<String>,
    pub allowed_hosts: Vec<String>,
    pub settings: TlsSettings,
}

/// What is to be spoken over a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alpn {
    #[default]
    Http2,
    Http1,
}

/// Makes the handshakes with servers.
pub struct TlsClient {
    files: ClientFiles,
    loaded: Reloading<Loaded>,
}

struct Loaded {
    http2: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    expiries: Vec<FileExpiry>,
}

impl std::fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TlsClient").field(&self.files).finish()
    }
}

impl TlsClient {
    /// Reads the files; afterwards they may change.
    pub fn open(files: ClientFiles) -> Result<TlsClient, TlsError> {
        let mut paths = Vec::new();
        if let Some(PairFiles { cert, key }) = &files.pair {
            paths.extend([cert.clone(), key.clone()]);
        }
        paths.extend(files.trusted_ca.clone());
        let load = {
            let files = files.clone();
            Box::new(move || load(&files))
        };
        Ok(TlsClient {
            files,
            loaded: Reloading::new(paths, load)?,
        })
    }

    /// The handshake on a connection to `address`.
    pub(crate) async fn connect(
        &self,
        stream: Stream,
        address: &Address,
        alpn: Alpn,
    ) -> io::Result<Stream> {
        let name = server_name(address)?;
        let loaded = self.loaded.current();
        let config = match alpn {
            Alpn::Http2 => loaded.http2.clone(),
            Alpn::Http1 => loaded.http1.clone(),
        };
        match TlsConnector::from(config).connect(name, stream).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(TlsStream::Client(stream)))),
            Err(error) => {
                let explains = Explains {
                    address,
                    cert: self.files.pair.as_ref().map(|pair| pair.cert.as_path()),
                    trusted_ca: self.files.trusted_ca.as_deref(),
                };
                Err(explain::of_server(error, explains))
            }
        }
    }

    /// Reads files that have changed, and tells how they are.
    pub fn report(&self) -> FilesReport {
        FilesReport {
            expiries: self.loaded.current().expiries.clone(),
            failures: self.loaded.failures(),
        }
    }
}

/// The name that the server's certificate must have. A socket's is its file's.
fn server_name(address: &Address) -> io::Result<ServerName<'static>> {
    let host = match &address.place {
        Place::Tcp(address) => address.rsplit_once(':').map_or("", |(host, _)| host),
        Place::Unix(path) => path.file_name().and_then(|it| it.to_str()).unwrap_or(""),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let bare = match &address.place {
        Place::Tcp(_) => bare,
        Place::Unix(_) => bare.split(':').next().unwrap_or_default(),
    };
    ServerName::try_from(bare.to_owned()).map_err(|_| {
        let text = format!("{address} has no host that a certificate could name");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}

fn load(files: &ClientFiles) -> Result<Loaded, TlsError> {
    let provider = files.settings.provider()?;
    let versions = files.settings.versions(&provider);
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(&versions)?.dangerous();
    let mut expiries = Vec::new();
    let builder = if files.believes_all {
        let algorithms = provider.signature_verification_algorithms;
        builder.with_custom_certificate_verifier(Arc::new(BelievesAll(algorithms)))
    } else {
        let roots = Roots::read(files.trusted_ca.as_deref())?;
        expiries_of(&roots, &mut expiries);
        let allowed = AllowedNames {
            common_names: files.allowed_common_names.clone(),
            hosts: files.allowed_hosts.clone(),
        };
        let verifier = ServerVerifier::new(roots, allowed, provider)?;
        builder.with_custom_certificate_verifier(Arc::new(verifier))
    };
    let mut config = match &files.pair {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = files::certificates(&pair.cert)?;
            expiries.extend(files::expiry(&pair.cert, &chain));
            let config = builder.with_client_auth_cert(chain, files::key(&pair.key)?);
            config.map_err(|error| files::pair_error(pair, &error))?
        }
    };
    // Each connection is judged by the files that there are now.
    config.resumption = Resumption::disabled();
    let http1 = Arc::new(config.clone());
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    Ok(Loaded {
        http2: Arc::new(config),
        http1,
        expiries,
    })
}
