//! What went wrong in a handshake, in words that say which file, which name and what to do.

use crate::address::Address;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};
use std::io;
use std::path::Path;

/// What a server knows when a client's handshake fails.
#[derive(Clone, Copy)]
pub(super) struct Server<'a> {
    pub cert: &'a Path,
    pub trusted_ca: Option<&'a Path>,
    pub revoked: Option<&'a Path>,
}

/// What a client knows when its handshake fails.
#[derive(Clone, Copy)]
pub(super) struct Client<'a> {
    pub address: &'a Address,
    pub cert: Option<&'a Path>,
    pub trusted_ca: Option<&'a Path>,
}

fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// A file of authorities, or what stands for it.
fn authorities(path: Option<&Path>) -> String {
    match path {
        Some(path) => path.display().to_string(),
        None => "the machine's list of authorities".to_owned(),
    }
}

/// Why a client is refused, as one of few kinds and in words; `None` if it merely went away.
pub(super) fn of_client(error: &io::Error, server: Server<'_>) -> Option<(&'static str, String)> {
    let why = cause(error)?;
    Some((kind(why), client_text(why, server)))
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::NoCertificatesPresented => "no certificate",
        Error::InvalidCertificate(error) => match error {
            CertificateError::Revoked => "revoked",
            CertificateError::UnknownIssuer => "unknown authority",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
            CertificateError::Other(_) => "not allowed",
            _ => "certificate",
        },
        Error::AlertReceived(_) => "alert",
        Error::PeerIncompatible(_) => "incompatible",
        _ => "handshake",
    }
}

fn client_text(error: &Error, server: Server<'_>) -> String {
    let ca = authorities(server.trusted_ca);
    let own = server.cert.display();
    match error {
        Error::NoCertificatesPresented => format!(
            "tls: client didn't provide a certificate: start the client with one (--cert and \
             --key) that an authority of {ca} has signed"
        ),
        Error::InvalidCertificate(CertificateError::Revoked) => format!(
            "the client's certificate is revoked: its serial number stands in {}",
            server.revoked.unwrap_or(Path::new("the list")).display()
        ),
        Error::InvalidCertificate(error) => {
            let problem = certificate(error, &ca, "the client's certificate");
            format!("{problem} (clients are judged by {ca})")
        }
        Error::AlertReceived(alert) => match alert {
            AlertDescription::UnknownCA | AlertDescription::BadCertificate => format!(
                "the client does not believe the certificate of {own} ({alert:?}): give the client \
                 its authority (--cacert), and reach this server by a name that the certificate has"
            ),
            AlertDescription::CertificateExpired => {
                format!("the client says that the certificate of {own} has expired: renew it")
            }
            alert => format!("the client refuses the certificate of {own}: {alert:?}"),
        },
        Error::PeerIncompatible(why) => incompatible(why, "the client"),
        error => format!("the handshake failed: {error}"),
    }
}

/// Why a server is refused, or has refused this client.
pub(super) fn of_server(error: io::Error, client: Client<'_>) -> io::Error {
    let Client {
        address,
        cert,
        trusted_ca,
    } = client;
    let Some(why) = cause(&error) else {
        let text = format!("{address} ended the connection during the TLS handshake: {error}");
        return io::Error::new(error.kind(), text);
    };
    let text = match why {
        Error::InvalidCertificate(error) => {
            let whose = format!("the certificate of {address}");
            certificate(error, &authorities(trusted_ca), &whose)
        }
        Error::AlertReceived(alert) => match cert {
            Some(cert) => format!(
                "{address} refuses the certificate of {}: {alert:?}",
                cert.display()
            ),
            None => format!(
                "{address} refuses the handshake: {alert:?}; if it asks for a certificate, give \
                 one (--cert and --key)"
            ),
        },
        Error::InvalidMessage(_) => format!(
            "tls: first record does not look like a TLS handshake: {address} does not speak TLS; \
             use http:// for it"
        ),
        Error::PeerIncompatible(why) => incompatible(why, &address.to_string()),
        error => format!("the handshake with {address} failed: {error}"),
    };
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn incompatible(why: &PeerIncompatible, whom: &str) -> String {
    format!(
        "no version of TLS or cipher suite in common with {whom} ({why:?}): see \
         --tls-min-version, --tls-max-version and --cipher-suites"
    )
}

fn certificate(error: &CertificateError, ca: &str, whose: &str) -> String {
    match error {
        CertificateError::UnknownIssuer => format!(
            "x509: certificate signed by unknown authority: {whose} is not signed by an authority \
             of {ca}; add its authority there, or use a certificate of one of those"
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("x509: certificate has expired: renew {whose} ({error})")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "x509: certificate is not yet valid: {whose} is of a later time ({error}); look at the \
             clocks"
        ),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let presented: Vec<&str> = presented.iter().map(|name| bare_name(name)).collect();
            let names = match presented.is_empty() {
                true => "no name".to_owned(),
                false => presented.join(", "),
            };
            format!(
                "x509: certificate is valid for {names}, not {}: use one of its names for {whose}, \
                 or a certificate with that one",
                expected.to_str()
            )
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!(
                "x509: certificate specifies an incompatible key usage: {whose} must allow it \
                 (extended key usage serverAuth for servers, clientAuth for clients)"
            )
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => format!(
            "{whose} has a key or a signature of a kind that detcd does not know; known are RSA, \
             ECDSA on P-256 and P-384, and Ed25519"
        ),
        CertificateError::Other(error) => format!("{whose}: {}", error.0),
        error => format!("{whose} is refused: {error}"),
    }
}

/// The names of a certificate come as `DnsName("a")` and `IpAddress(127.0.0.1)`.
fn bare_name(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, rest)| rest);
    inner.trim_end_matches(')').trim_matches('"')
}

/// An alert that came after the handshake, as a client of TLS 1.3 is told that its certificate was
/// refused.
pub fn late_alert(error: io::Error) -> io::Error {
    match cause(&error) {
        Some(Error::AlertReceived(alert)) => {
            let text = format!(
                "tls: the other side ended the connection: {alert:?}; CertificateRequired means \
                 that it asks for a certificate (--cert and --key), the others that it refuses \
                 the one that it got"
            );
            io::Error::new(io::ErrorKind::ConnectionAborted, text)
        }
        _ => error,
    }
}
