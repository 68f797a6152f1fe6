//! Certificates, keys and revocation lists, from their files.

use super::FileExpiry;
use super::names::CertificateFacts;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

/// A certificate, with those that lead from it to its authority, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, Error)]
pub enum TlsError {
    #[error("open {}: {problem}", path.display())]
    Open { path: PathBuf, problem: String },
    #[error(
        "{} holds no certificate: it must have one in PEM, between BEGIN CERTIFICATE and END \
         CERTIFICATE", .0.display()
    )]
    NoCertificate(PathBuf),
    #[error(
        "{} holds no private key that can be read: it must have one in PEM (PKCS #1, PKCS #8 or \
         SEC 1), without a password", .0.display()
    )]
    NoKey(PathBuf),
    #[error("{} holds no list of revoked certificates, in PEM or DER", .0.display())]
    NoList(PathBuf),
    #[error("{} holds a certificate that cannot be used: {problem}", path.display())]
    Certificate { path: PathBuf, problem: String },
    #[error(
        "the private key of {} does not match the certificate of {}: give both of one pair",
        key.display(), cert.display()
    )]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("{} and {} cannot be used together: {problem}", cert.display(), key.display())]
    Pair {
        cert: PathBuf,
        key: PathBuf,
        problem: String,
    },
    #[error(
        "this machine has no certificates of authorities to believe: name a file of them \
         (--trusted-ca-file of a server, --cacert of a client)"
    )]
    NoSystemRoots,
    #[error("none of the cipher suites is one that detcd has for TLS 1.2")]
    NoSuite,
    #[error("cannot set up TLS: {0}")]
    Setup(#[from] rustls::Error),
    #[error("cannot make a certificate: {0}")]
    Make(String),
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Open {
        path: path.to_owned(),
        problem: match error.kind() {
            io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        },
    })
}

/// The certificates of a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|error| unusable(path, error))?;
    if all.is_empty() {
        return Err(TlsError::NoCertificate(path.to_owned()));
    }
    for certificate in &all {
        CertificateFacts::read(certificate).map_err(|problem| unusable(path, problem))?;
    }
    Ok(all)
}

fn unusable(path: &Path, problem: impl ToString) -> TlsError {
    TlsError::Certificate {
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}

pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| TlsError::NoKey(path.to_owned()))
}

/// When the first of a file's certificates ends.
pub(super) fn expiry(
    path: &Path,
    certificates: impl IntoIterator<Item = impl AsRef<[u8]>>,
) -> Option<FileExpiry> {
    let ends = certificates.into_iter().filter_map(|certificate| {
        let facts = CertificateFacts::read(certificate.as_ref()).ok()?;
        Some(facts.not_after)
    });
    Some(FileExpiry {
        path: path.to_owned(),
        not_after: ends.min()?,
    })
}

/// Why a certificate and a key are no pair.
pub(super) fn pair_error(files: &PairFiles, error: &rustls::Error) -> TlsError {
    let PairFiles { cert, key } = files.clone();
    match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { cert, key },
        error => TlsError::Pair {
            cert,
            key,
            problem: error.to_string(),
        },
    }
}

/// Authorities that are believed, or single certificates.
pub(super) struct Roots {
    pub store: RootCertStore,
    /// The same, to be compared.
    pub certificates: BTreeSet<Vec<u8>>,
    /// Where they come from; `None` for those of the machine.
    pub path: Option<PathBuf>,
}

impl Roots {
    pub fn read(path: Option<&Path>) -> Result<Roots, TlsError> {
        let mut store = RootCertStore::empty();
        let mut all = BTreeSet::new();
        let Some(path) = path else {
            let found = rustls_native_certs::load_native_certs();
            all.extend(found.certs.iter().map(|it| it.to_vec()));
            store.add_parsable_certificates(found.certs);
            return match store.is_empty() {
                true => Err(TlsError::NoSystemRoots),
                false => Ok(Roots {
                    store,
                    certificates: all,
                    path: None,
                }),
            };
        };
        for certificate in certificates(path)? {
            all.insert(certificate.to_vec());
            store
                .add(certificate)
                .map_err(|error| unusable(path, error))?;
        }
        Ok(Roots {
            store,
            certificates: all,
            path: Some(path.to_owned()),
        })
    }
}

/// The serial numbers of revoked certificates. As in etcd, whose they are does not matter.
#[derive(Debug)]
pub(super) struct Revoked {
    pub serials: BTreeSet<Vec<u8>>,
}

impl Revoked {
    pub fn read(path: &Path) -> Result<Revoked, TlsError> {
        let bytes = read(path)?;
        let lists: Result<Vec<_>, _> =
            CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
        let lists = match lists {
            Ok(lists) if !lists.is_empty() => lists,
            _ => vec![CertificateRevocationListDer::from(bytes)],
        };
        let mut serials = BTreeSet::new();
        for list in &lists {
            let parsed = CertificateRevocationList::from_der(list);
            let (_, list) = parsed.map_err(|_| TlsError::NoList(path.to_owned()))?;
            let revoked = list.iter_revoked_certificates();
            serials.extend(revoked.map(|it| it.user_certificate.to_bytes_be()));
        }
        Ok(Revoked { serials })
    }
}
