//! The flags of TLS: for each port what it presents and whom it believes, and what is spoken.

use super::parse::Given;
use super::url::Url;
use super::{BootstrapError, Config, Notice, UsageError};
use detcd_core::go::parse_bool;
use std::path::PathBuf;

/// The files and rules of one port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortTls {
    pub pair: Option<PairPaths>,
    /// What is presented to others; `None` for the same.
    pub client_pair: Option<PairPaths>,
    pub trusted_ca: Option<PathBuf>,
    pub revoked: Option<PathBuf>,
    /// Whether a client is known by its certificate.
    pub client_cert_auth: bool,
    pub allowed_common_names: Vec<String>,
    pub allowed_hosts: Vec<String>,
    /// Whether a certificate is to be made.
    pub auto: bool,
}

/// The paths of a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairPaths {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    pub client: PortTls,
    pub peer: PortTls,
    /// Whether other members may call from any address, whatever their certificates say.
    pub skips_peer_addresses: bool,
    /// Years for which certificates are made.
    pub validity: u32,
    /// Whether TLS 1.2 and TLS 1.3 may be spoken.
    pub has_1_2: bool,
    pub has_1_3: bool,
    /// By their numbers; empty for all.
    pub cipher_suites: Vec<u16>,
}

impl PortTls {
    /// Whether there is a certificate to listen with.
    pub fn can_listen(&self) -> bool {
        self.pair.is_some() || self.auto
    }

    /// Whether clients are asked for certificates.
    pub fn asks_clients(&self) -> bool {
        self.client_cert_auth || self.trusted_ca.is_some()
    }

    /// Whether anything is said of TLS.
    pub fn is_set(&self) -> bool {
        self.can_listen() || self.client_pair.is_some() || self.asks_clients()
    }
}

/// The names of a port's flags.
struct Names {
    /// Before most of them.
    prefix: &'static str,
    crl: &'static str,
    allowed_cn: Option<&'static str>,
    allowed_hostname: &'static str,
    /// Before the files of the certificate that is presented to others.
    client: &'static str,
}

const CLIENT: Names = Names {
    prefix: "",
    crl: "client-crl-file",
    allowed_cn: None,
    allowed_hostname: "client-cert-allowed-hostname",
    client: "client-",
};

const PEER: Names = Names {
    prefix: "peer-",
    crl: "peer-crl-file",
    allowed_cn: Some("peer-cert-allowed-cn"),
    allowed_hostname: "peer-cert-allowed-hostname",
    client: "peer-client-",
};

fn refused(text: impl Into<String>) -> UsageError {
    UsageError::Verify(text.into())
}

pub(super) fn resolve(given: &Given, notices: &mut Vec<Notice>) -> Result<TlsConfig, UsageError> {
    let versions = ["tls-min-version", "tls-max-version"].map(|name| version(given.text(name)));
    let [min, max] = versions;
    let (min, max) = (min?, max?);
    let (first, last) = (min.unwrap_or(2), max.unwrap_or(3));
    if first > last {
        return Err(refused(format!(
            "min version ({}) is greater than max version ({})",
            given.text("tls-min-version"),
            given.text("tls-max-version")
        )));
    }
    let cipher_suites = cipher_suites(given.text("cipher-suites"))?;
    if first == 3 && !cipher_suites.is_empty() {
        return Err(refused(
            "cipher suites cannot be configured when only TLS1.3 is enabled",
        ));
    }
    let years = given.text("self-signed-cert-validity").parse::<u32>();
    let validity = years.unwrap_or(u32::MAX);
    let config = TlsConfig {
        client: port(given, &CLIENT, notices)?,
        peer: port(given, &PEER, notices)?,
        skips_peer_addresses: boolean(given, "peer-skip-client-san-verification"),
        validity,
        has_1_2: first == 2,
        has_1_3: last == 3,
        cipher_suites,
    };
    let makes = config.client.auto || config.peer.auto;
    if makes && !(1..=YEARS_MAX).contains(&validity) {
        return Err(refused(format!(
            "selfSignedCertValidity is invalid,it should be greater than 0 (and at most \
             {YEARS_MAX} years)"
        )));
    }
    Ok(config)
}

/// A certificate's dates have four digits for the year.
const YEARS_MAX: u32 = 1000;

fn boolean(given: &Given, name: &str) -> bool {
    parse_bool(given.text(name)) == Some(true)
}

fn list(text: &str) -> Vec<String> {
    let items = text.split(',').map(str::trim);
    items
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

fn path(given: &Given, name: &str) -> Option<PathBuf> {
    let text = given.text(name);
    (!text.is_empty()).then(|| text.into())
}

fn port(given: &Given, names: &Names, notices: &mut Vec<Notice>) -> Result<PortTls, UsageError> {
    let name = |rest: &str| format!("{}{rest}", names.prefix);
    let text = |name: &str| given.text(name).to_owned();
    let (cert, key) = (text(&name("cert-file")), text(&name("key-file")));
    if cert.is_empty() != key.is_empty() {
        return Err(refused(format!(
            "KeyFile and CertFile must both be present[key: {key}, cert: {cert}]"
        )));
    }
    let client = |rest: &str| text(&format!("{}{rest}", names.client));
    let (client_cert, client_key) = (client("cert-file"), client("key-file"));
    if client_cert.is_empty() != client_key.is_empty() {
        return Err(refused(format!(
            "ClientKeyFile and ClientCertFile must both be present or both absent: key: \
             {client_key}, cert: {client_cert}]"
        )));
    }
    let common_names = names.allowed_cn.map(&text).unwrap_or_default();
    let hosts = text(names.allowed_hostname);
    if !common_names.is_empty() && !hosts.is_empty() {
        return Err(refused(format!(
            "AllowedCN and AllowedHostname are mutually exclusive (cn={common_names:?}, \
             hostname={hosts:?})"
        )));
    }
    let pair = |cert: String, key: String| {
        (!cert.is_empty()).then(|| PairPaths {
            cert: cert.into(),
            key: key.into(),
        })
    };
    let pair_given = pair(cert, key);
    let auto = boolean(given, &name("auto-tls"));
    if auto && pair_given.is_some() {
        notices.push(Notice::Advice(format!(
            "ignoring --{}: certificates are given",
            name("auto-tls")
        )));
    }
    Ok(PortTls {
        auto: auto && pair_given.is_none(),
        pair: pair_given,
        client_pair: pair(client_cert, client_key),
        trusted_ca: path(given, &name("trusted-ca-file")),
        revoked: path(given, names.crl),
        client_cert_auth: boolean(given, &name("client-cert-auth")),
        allowed_common_names: list(&common_names),
        allowed_hosts: list(&hosts),
    })
}

/// The minor version of TLS 1; `None` if the text leaves it open.
fn version(text: &str) -> Result<Option<u8>, UsageError> {
    match text {
        "" => Ok(None),
        "TLS1.2" => Ok(Some(2)),
        "TLS1.3" => Ok(Some(3)),
        other => Err(refused(format!("unexpected TLS version {other:?}"))),
    }
}

fn cipher_suites(text: &str) -> Result<Vec<u16>, UsageError> {
    let number = |name: String| {
        let found = CIPHER_SUITES.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, number)| *number)
            .ok_or_else(|| refused(format!("unexpected TLS cipher suite {name:?}")))
    };
    list(text).into_iter().map(number).collect()
}

/// Every suite that Go's TLS has a name for.
const CIPHER_SUITES: &[(&str, u16)] = &[
    ("TLS_RSA_WITH_RC4_128_SHA", 0x0005),
    ("TLS_RSA_WITH_3DES_EDE_CBC_SHA", 0x000a),
    ("TLS_RSA_WITH_AES_128_CBC_SHA", 0x002f),
    ("TLS_RSA_WITH_AES_256_CBC_SHA", 0x0035),
    ("TLS_RSA_WITH_AES_128_CBC_SHA256", 0x003c),
    ("TLS_RSA_WITH_AES_128_GCM_SHA256", 0x009c),
    ("TLS_RSA_WITH_AES_256_GCM_SHA384", 0x009d),
    ("TLS_AES_128_GCM_SHA256", 0x1301),
    ("TLS_AES_256_GCM_SHA384", 0x1302),
    ("TLS_CHACHA20_POLY1305_SHA256", 0x1303),
    ("TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", 0xc007),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", 0xc009),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", 0xc00a),
    ("TLS_ECDHE_RSA_WITH_RC4_128_SHA", 0xc011),
    ("TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", 0xc012),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", 0xc013),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", 0xc014),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", 0xc023),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", 0xc027),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xc02b),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 0xc02c),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xc02f),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", 0xc030),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca8),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca9),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", 0xcca8),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", 0xcca9),
];

impl Config {
    /// Refuses listeners that need TLS and have no certificates.
    pub fn check_listeners(&self) -> Result<(), BootstrapError> {
        let first_tls = |urls: &[Url], tls: &PortTls| {
            let found = urls.iter().find(|url| url.is_tls() && !tls.can_listen());
            found.cloned()
        };
        if let Some(url) = first_tls(&self.listen_peer_urls, &self.tls.peer) {
            return Err(BootstrapError::PeerTls(url.address));
        }
        if let Some(url) = first_tls(&self.listen_client_urls, &self.tls.client) {
            return Err(BootstrapError::ClientTls(url.to_string()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Request, read};
    use super::*;

    fn parse(line: &str) -> Result<TlsConfig, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match read(&args, &[]) {
            Ok(Request::Serve(config, _)) => Ok(config.tls),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn refusals_are_etcds() {
        for (line, text) in [
            (
                "--cert-file a",
                "KeyFile and CertFile must both be present[key: , cert: a]",
            ),
            (
                "--peer-client-key-file k",
                "ClientKeyFile and ClientCertFile must both be present or both absent: key: k, \
                 cert: ]",
            ),
            (
                "--peer-cert-allowed-cn a --peer-cert-allowed-hostname b",
                "AllowedCN and AllowedHostname are mutually exclusive (cn=\"a\", hostname=\"b\")",
            ),
            (
                "--cipher-suites TLS_X",
                "unexpected TLS cipher suite \"TLS_X\"",
            ),
            (
                "--tls-min-version TLS1.1",
                "unexpected TLS version \"TLS1.1\"",
            ),
            (
                "--tls-min-version TLS1.3 --tls-max-version TLS1.2",
                "min version (TLS1.3) is greater than max version (TLS1.2)",
            ),
            (
                "--tls-min-version TLS1.3 --cipher-suites TLS_RSA_WITH_RC4_128_SHA",
                "cipher suites cannot be configured when only TLS1.3 is enabled",
            ),
            (
                "--auto-tls --self-signed-cert-validity 0",
                "selfSignedCertValidity is invalid,it should be greater than 0 (and at most 1000 \
                 years)",
            ),
        ] {
            assert_eq!(parse(line).unwrap_err(), text, "{line}");
        }
    }

    #[test]
    fn each_port_has_its_own_files() {
        let tls = parse(
            "--cert-file c --key-file k --trusted-ca-file ca --client-cert-auth \
             --client-crl-file r --client-cert-allowed-hostname h,i --peer-auto-tls \
             --peer-client-cert-file pc --peer-client-key-file pk --peer-cert-allowed-cn n \
             --peer-skip-client-san-verification --tls-max-version TLS1.2 \
             --cipher-suites TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        )
        .unwrap();
        let pair = |cert: &str, key: &str| {
            Some(PairPaths {
                cert: cert.into(),
                key: key.into(),
            })
        };
        let client = PortTls {
            pair: pair("c", "k"),
            trusted_ca: Some("ca".into()),
            revoked: Some("r".into()),
            client_cert_auth: true,
            allowed_hosts: vec!["h".to_owned(), "i".to_owned()],
            ..PortTls::default()
        };
        let peer = PortTls {
            client_pair: pair("pc", "pk"),
            allowed_common_names: vec!["n".to_owned()],
            auto: true,
            ..PortTls::default()
        };
        assert_eq!((tls.client, tls.peer), (client, peer));
        assert!(tls.skips_peer_addresses && tls.has_1_2 && !tls.has_1_3);
        assert_eq!(tls.cipher_suites, [0xc030]);
    }
}
