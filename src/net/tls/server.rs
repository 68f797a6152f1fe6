//! The side that listens.

use super::explain::{self, Server as Explains};
use super::files::{self, PairFiles, Revoked, Roots, TlsError};
use super::names::CertificateFacts;
use super::reload::Reloading;
use super::settings::TlsSettings;
use super::verify::{AllowedNames, ClientVerifier};
use super::{FileExpiry, FilesReport, PeerName, san};
use crate::limits::{HANDSHAKE_TIMEOUT, REFUSED_TIMEOUT};
use crate::stream::Stream;
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsStream};

/// The first byte of a TLS connection: a record of the handshake.
const HANDSHAKE_RECORD: u8 = 22;
/// What Go's HTTP server answers to a client that does not speak TLS.
const PLAIN_ANSWER: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
const HTTP_1_1: &[u8] = b"http/1.1";
pub(super) const HTTP_2: &[u8] = b"h2";

/// What a server presents, and whom it believes.
#[derive(Clone, Debug)]
pub struct ServerFiles {
    pub pair: PairFiles,
    /// `None`: clients need no certificates.
    pub clients: Option<ClientRules>,
    pub settings: TlsSettings,
}

/// Which certificates of clients are good.
#[derive(Clone, Debug, Default)]
pub struct ClientRules {
    /// Their authorities; `None` for those that the machine believes.
    pub trusted_ca: Option<PathBuf>,
    pub revoked: Option<PathBuf>,
    pub allowed_common_names: Vec<String>,
    pub allowed_hosts: Vec<String>,
    /// Whether a certificate must fit the address that its client calls from.
    pub checks_address: bool,
}

/// Takes the handshakes of a port.
pub struct TlsServer {
    files: ServerFiles,
    loaded: Reloading<Loaded>,
    refused: AtomicU64,
}

struct Loaded {
    config: Arc<ServerConfig>,
    expiries: Vec<FileExpiry>,
}

/// How the connections of a listener begin.
#[derive(Clone)]
pub enum Security {
    Plain,
    Tls(Arc<TlsServer>),
    /// Each client chooses, as on an address of etcd that is listed with http and with https.
    Either(Arc<TlsServer>),
}

/// A connection that is ready for what is to be said over it.
pub struct Secured {
    pub stream: Stream,
    /// `None` if no certificate was asked for.
    pub peer: Option<PeerName>,
}

#[derive(Debug, Error)]
pub enum HandshakeError {
    #[error("the client does not speak TLS: use https:// at the client, or listen with http://")]
    Plain,
    #[error("the handshake took longer than {HANDSHAKE_TIMEOUT:?}")]
    TimedOut,
    #[error("{text}")]
    Refused { kind: &'static str, text: String },
    /// The client went away.
    #[error("the client ended the connection during the handshake: {0}")]
    Ended(io::Error),
}

impl HandshakeError {
    /// Why, as one of few words.
    pub fn kind(&self) -> &'static str {
        match self {
            HandshakeError::Plain => "plain",
            HandshakeError::TimedOut => "timeout",
            HandshakeError::Refused { kind, .. } => kind,
            HandshakeError::Ended(_) => "ended",
        }
    }
}

impl std::fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TlsServer").field(&self.files).finish()
    }
}

impl Security {
    /// The handshake, if there is one.
    pub async fn open(&self, stream: Stream) -> Result<Secured, HandshakeError> {
        match self {
            Security::Plain => Ok(Secured { stream, peer: None }),
            Security::Tls(server) => server.accept(stream).await,
            Security::Either(server) => match begins_tls(&stream).await {
                Ok(false) => Ok(Secured { stream, peer: None }),
                _ => server.accept(stream).await,
            },
        }
    }
}

impl TlsServer {
    /// Reads the files; afterwards they may change.
    pub fn open(files: ServerFiles) -> Result<TlsServer, TlsError> {
        let mut paths = vec![files.pair.cert.clone(), files.pair.key.clone()];
        let clients = files.clients.as_ref();
        paths.extend(clients.and_then(|rules| rules.trusted_ca.clone()));
        paths.extend(clients.and_then(|rules| rules.revoked.clone()));
        let load = {
            let files = files.clone();
            Box::new(move || load(&files))
        };
        Ok(TlsServer {
            files,
            loaded: Reloading::new(paths, load)?,
            refused: AtomicU64::new(0),
        })
    }

    async fn accept(&self, stream: Stream) -> Result<Secured, HandshakeError> {
        let accepted = detcd_rt::timeout(HANDSHAKE_TIMEOUT, self.handshake(stream)).await;
        let accepted = accepted.unwrap_or(Err(HandshakeError::TimedOut));
        if accepted.is_err() {
            self.refused.fetch_add(1, Relaxed);
        }
        accepted
    }

    async fn handshake(&self, mut stream: Stream) -> Result<Secured, HandshakeError> {
        if !begins_tls(&stream).await.map_err(HandshakeError::Ended)? {
            // The client may be gone.
            let _ = stream.write_all(PLAIN_ANSWER).await;
            say_goodbye(stream).await;
            return Err(HandshakeError::Plain);
        }
        let address = stream.peer_address();
        let config = self.loaded.current().config.clone();
        let accepting = TlsAcceptor::from(config).accept(stream).into_fallible();
        let mut stream = match accepting.await {
            Ok(stream) => stream,
            Err((error, stream)) => {
                let Some((kind, text)) = explain::of_client(&error, self.explains()) else {
                    return Err(HandshakeError::Ended(error));
                };
                say_goodbye(stream).await;
                return Err(HandshakeError::Refused { kind, text });
            }
        };
        let Some(rules) = &self.files.clients else {
            return Ok(secured(stream, None));
        };
        let presented = stream.get_ref().1.peer_certificates();
        let facts = presented.and_then(|all| CertificateFacts::read(all.first()?).ok());
        let Some(facts) = facts else {
            return Err(HandshakeError::Refused {
                kind: "no certificate",
                text: "no certificate came".to_owned(),
            });
        };
        if let Some(address) = address.filter(|_| rules.checks_address)
            && let Err(problem) = san::check(&facts, address.ip()).await
        {
            let _ = stream.shutdown().await;
            return Err(HandshakeError::Refused {
                kind: "address",
                text: format!(
                    "{problem}: the certificate {} of the client does not fit the address that it \
                     calls from; give it one that does, or start this member with \
                     --peer-skip-client-san-verification",
                    facts.owner()
                ),
            });
        }
        let name = PeerName {
            common_name: facts.common_name.map(Arc::from),
        };
        Ok(secured(stream, Some(name)))
    }

    fn explains(&self) -> Explains<'_> {
        let clients = self.files.clients.as_ref();
        Explains {
            cert: &self.files.pair.cert,
            trusted_ca: clients.and_then(|rules| rules.trusted_ca.as_deref()),
            revoked: clients.and_then(|rules| rules.revoked.as_deref()),
        }
    }

    /// Reads files that have changed, and tells how they are.
    pub fn report(&self) -> FilesReport {
        FilesReport {
            expiries: self.loaded.current().expiries.clone(),
            failures: self.loaded.failures(),
        }
    }

    /// Handshakes that came to nothing.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

fn secured(stream: tokio_rustls::server::TlsStream<Stream>, peer: Option<PeerName>) -> Secured {
    Secured {
        stream: Stream::Tls(Box::new(TlsStream::Server(stream))),
        peer,
    }
}

async fn begins_tls(stream: &Stream) -> io::Result<bool> {
    let first = stream.first_byte().await?;
    Ok(first.is_none_or(|first| first == HANDSHAKE_RECORD))
}

/// Lets the client read what it was told.
async fn say_goodbye(mut stream: Stream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let drain = async {
        let mut rest = [0; 4096];
        while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    };
    let _ = detcd_rt::timeout(REFUSED_TIMEOUT, drain).await;
}

fn load(files: &ServerFiles) -> Result<Loaded, TlsError> {
    let ServerFiles {
        pair,
        clients,
        settings,
    } = files;
    let provider = settings.provider()?;
    let versions = settings.versions(&provider);
    let chain = files::certificates(&pair.cert)?;
    let mut expiries = files::expiry(&pair.cert, &chain).into_iter().collect();
    let key = files::key(&pair.key)?;
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(&versions)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(rules) => {
            let ClientRules {
                trusted_ca,
                revoked,
                allowed_common_names,
                allowed_hosts,
                ..
            } = rules.clone();
            let roots = Roots::read(trusted_ca.as_deref())?;
            expiries_of(&roots, &mut expiries);
            let revoked = revoked.as_deref().map(Revoked::read).transpose()?;
            let allowed = AllowedNames {
                common_names: allowed_common_names,
                hosts: allowed_hosts,
            };
            let verifier = ClientVerifier::new(roots, revoked, allowed, provider)?;
            builder.with_client_cert_verifier(Arc::new(verifier))
        }
    };
    let config = builder.with_single_cert(chain, key);
    let mut config = config.map_err(|error| files::pair_error(pair, &error))?;
    config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1_1.to_vec()];
    // A resumed session would not be judged by the files that there are now.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Loaded {
        config: Arc::new(config),
        expiries,
    })
}

pub(super) fn expiries_of(roots: &Roots, expiries: &mut Vec<FileExpiry>) {
    if let Some(path) = &roots.path {
        expiries.extend(files::expiry(path, roots.certificates.iter()));
    }
}
