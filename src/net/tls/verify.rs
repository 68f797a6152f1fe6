//! Who is believed. rustls judges chains; what etcd accepts or asks beyond that stands here: a
//! certificate that the file of authorities holds is believed as it is, whether or not it says that
//! it is an authority's; revoked serial numbers; names that a certificate must carry.

use super::files::{Revoked, Roots};
use super::names::CertificateFacts;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use thiserror::Error as ThisError;

/// Names of which a certificate must carry one. Without names there is no such rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedNames {
    pub common_names: Vec<String>,
    pub hosts: Vec<String>,
}

/// Why a certificate that an authority vouches for is refused.
#[derive(Debug, ThisError)]
#[error("{0}")]
pub(super) struct Refusal(pub String);

fn refuse(text: String) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refusal(text)))))
}

impl AllowedNames {
    fn check(&self, facts: &CertificateFacts) -> Result<(), Error> {
        let AllowedNames {
            common_names,
            hosts,
        } = self;
        let common_name = facts.common_name.as_deref().unwrap_or_default();
        if !common_names.is_empty() && !common_names.iter().any(|name| name == common_name) {
            return Err(refuse(format!(
                "client certificate authentication failed: the common name of the certificate {} is \
                 not allowed; allowed is {}",
                facts.owner(),
                common_names.join(", ")
            )));
        }
        if !hosts.is_empty() && !hosts.iter().any(|host| facts.names_host(host)) {
            return Err(refuse(format!(
                "client certificate authentication failed: the certificate {} does not name the \
                 host {}",
                facts.owner(),
                hosts.join(", ")
            )));
        }
        Ok(())
    }
}

/// Whether a certificate that is believed as it is may be used now, and for this.
fn check_pinned(
    facts: &CertificateFacts,
    now: UnixTime,
    has_purpose: bool,
) -> Result<(), CertificateError> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < facts.not_before {
        Err(CertificateError::NotValidYet)
    } else if now > facts.not_after {
        Err(CertificateError::Expired)
    } else if !has_purpose {
        Err(CertificateError::InvalidPurpose)
    } else {
        Ok(())
    }
}

fn facts(certificate: &CertificateDer<'_>) -> Result<CertificateFacts, Error> {
    CertificateFacts::read(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
}

/// A server's judgement of its clients.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    chains: Arc<dyn ClientCertVerifier>,
    pinned: BTreeSet<Vec<u8>>,
    revoked: Option<Revoked>,
    allowed: AllowedNames,
}

impl ClientVerifier {
    pub fn new(
        roots: Roots,
        revoked: Option<Revoked>,
        allowed: AllowedNames,
        provider: Arc<CryptoProvider>,
    ) -> Result<ClientVerifier, Error> {
        let store = Arc::new(roots.store);
        let chains = WebPkiClientVerifier::builder_with_provider(store, provider).build();
        Ok(ClientVerifier {
            chains: chains.map_err(|error| Error::General(error.to_string()))?,
            pinned: roots.certificates,
            revoked,
            allowed,
        })
    }

    fn check_revoked(&self, certificates: &[CertificateDer<'_>]) -> Result<(), Error> {
        let Some(revoked) = &self.revoked else {
            return Ok(());
        };
        for certificate in certificates {
            if revoked.serials.contains(&facts(certificate)?.serial) {
                return Err(CertificateError::Revoked.into());
            }
        }
        Ok(())
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let own = facts(end_entity)?;
        if self.pinned.contains(end_entity.as_ref()) {
            check_pinned(&own, now, own.calls)?;
        } else {
            self.chains
                .verify_client_cert(end_entity, intermediates, now)?;
        }
        self.check_revoked(std::slice::from_ref(end_entity))?;
        self.check_revoked(intermediates)?;
        self.allowed.check(&own)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// A client's judgement of its servers.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    chains: Arc<WebPkiServerVerifier>,
    pinned: BTreeSet<Vec<u8>>,
    allowed: AllowedNames,
}

impl ServerVerifier {
    pub fn new(
        roots: Roots,
        allowed: AllowedNames,
        provider: Arc<CryptoProvider>,
    ) -> Result<ServerVerifier, Error> {
        let store = Arc::new(roots.store);
        let chains = WebPkiServerVerifier::builder_with_provider(store, provider).build();
        Ok(ServerVerifier {
            chains: chains.map_err(|error| Error::General(error.to_string()))?,
            pinned: roots.certificates,
            allowed,
        })
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let own = facts(end_entity)?;
        if self.pinned.contains(end_entity.as_ref()) {
            check_pinned(&own, now, own.serves)?;
            if !own.names_host(&server_name.to_str()) {
                return Err(CertificateError::NotValidForNameContext {
                    expected: server_name.to_owned(),
                    presented: own.names(),
                }
                .into());
            }
        } else {
            self.chains.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            )?;
        }
        self.allowed.check(&own)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Believes every server, and protects from listeners alone. What the server signs proves nothing:
/// its key may be anybody's. So it may also be of a kind that the library does not know, such as the
/// keys on the curve P-521 that etcd's `--auto-tls` makes.
#[derive(Debug)]
pub(super) struct BelievesAll(pub WebPkiSupportedAlgorithms);

impl ServerCertVerifier for BelievesAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.0.supported_schemes();
        schemes.push(SignatureScheme::ECDSA_NISTP521_SHA512);
        schemes
    }
}
