//! Certificates for tests, made when the test runs.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A folder of certificates: `NAME.pem` and `NAME.key`.
pub struct Certificates {
    folder: PathBuf,
}

/// Who signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A list of the certificates with these serial numbers, revoked.
    pub fn revoke(&self, serials: &[u64]) -> String {
        let now = SystemTime::now();
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + DAY).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("a list");
        list.pem().expect("a list in PEM")
    }
}

impl Certificates {
    pub fn in_folder(folder: &Path) -> Certificates {
        fs::create_dir_all(folder).expect("a folder");
        Certificates {
            folder: folder.to_owned(),
        }
    }

    pub fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    /// Puts a file into the place of what is there, if anything.
    pub fn write(&self, file: &str, text: &str) {
        let new = self.folder.join(format!("{file}.new"));
        fs::write(&new, text).expect("a file");
        fs::rename(&new, self.folder.join(file)).expect("a file in its place");
    }

    /// A certificate of this machine with this common name.
    pub fn sign(&self, name: &str, by: &Authority) {
        self.sign_with(name, by, |_| {});
    }

    pub fn sign_with(
        &self,
        name: &str,
        by: &Authority,
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let mut params = named(name);
        let loopback = SanType::IpAddress("127.0.0.1".parse().expect("an address"));
        let host = SanType::DnsName("localhost".try_into().expect("a name"));
        params.subject_alt_names = vec![loopback, host];
        params.not_after = (SystemTime::now() + 400 * DAY).into();
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &by.issuer).expect("a certificate");
        self.write(&format!("{name}.key"), &key.serialize_pem());
        self.write(&format!("{name}.pem"), &signed.pem());
    }

    /// The flags of a client that presents this certificate.
    pub fn client(&self, name: &str) -> Vec<String> {
        vec![
            format!("--cacert={}", self.path("ca.pem")),
            format!("--cert={}", self.path(&format!("{name}.pem"))),
            format!("--key={}", self.path(&format!("{name}.key"))),
        ]
    }

    /// The flags of a member that listens with this certificate on both ports, and asks for others.
    pub fn mutual(&self, name: &str) -> Vec<String> {
        let mut flags = Vec::new();
        for prefix in ["", "peer-"] {
            flags.extend([
                format!("--{prefix}cert-file={}", self.path(&format!("{name}.pem"))),
                format!("--{prefix}key-file={}", self.path(&format!("{name}.key"))),
                format!("--{prefix}trusted-ca-file={}", self.path("ca.pem")),
                format!("--{prefix}client-cert-auth"),
            ]);
        }
        flags
    }
}
