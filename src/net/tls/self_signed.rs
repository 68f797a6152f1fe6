//! Certificates for who has none, as etcd's `--auto-tls` makes them.

use super::files::{PairFiles, TlsError};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, SanType,
};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A certificate to be made.
#[derive(Clone, Debug)]
pub struct SelfSigned {
    /// Host names and addresses, without ports.
    pub hosts: Vec<String>,
    pub years: u32,
}

/// The pair in `folder`, which is made if it is not there.
pub fn self_signed(folder: &Path, wanted: &SelfSigned) -> Result<PairFiles, TlsError> {
    let files = PairFiles {
        cert: folder.join("cert.pem"),
        key: folder.join("key.pem"),
    };
    if files.cert.exists() && files.key.exists() {
        return Ok(files);
    }
    let (cert, key) = make(wanted).map_err(|error| TlsError::Make(error.to_string()))?;
    let written = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .and_then(|()| write(&files.key, &key))
        .and_then(|()| write(&files.cert, &cert));
    match written {
        Ok(()) => Ok(files),
        Err(error) => Err(TlsError::Make(format!("{}: {error}", folder.display()))),
    }
}

fn make(wanted: &SelfSigned) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.not_before = now.into();
    params.not_after = (now + YEAR * wanted.years).into();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "etcd");
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    // Members call each other with what they serve with.
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    for host in &wanted.hosts {
        params.subject_alt_names.push(match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.as_str().try_into()?),
        });
    }
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}
