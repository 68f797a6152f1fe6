//! The flags of TLS, as etcdctl takes them: an endpoint's scheme decides, and without one whether a
//! flag asks for TLS.

use super::context::Context;
use super::failure::Failure;
use detcd_net::Address;
use detcd_net::tls::{ClientFiles, PairFiles, TlsClient, TlsSettings};
use std::path::PathBuf;
use std::sync::Arc;

/// With what to speak to endpoints.
#[derive(Clone, Debug, Default)]
pub struct Secure {
    tls: Option<Arc<TlsClient>>,
    /// Whether endpoints without a scheme speak TLS.
    is_default: bool,
}

/// What a command line says of TLS.
#[derive(Clone, Debug, Default)]
pub struct TlsFlags {
    /// Paths, empty if they are not given.
    pub cert: String,
    pub key: String,
    pub cacert: String,
    /// Whether certificates of servers are not checked.
    pub believes_all: bool,
    /// Whether endpoints without a scheme speak TLS, also if no file is named.
    pub is_default: bool,
}

impl Secure {
    pub fn of(context: &Context, endpoints: &[String]) -> Result<Secure, Failure> {
        let flags = &context.flags;
        let flags = TlsFlags {
            cert: flags.text("cert").to_owned(),
            key: flags.text("key").to_owned(),
            cacert: flags.text("cacert").to_owned(),
            believes_all: flags.switch("insecure-skip-tls-verify"),
            is_default: !flags.switch("insecure-transport"),
        };
        Secure::new(flags, endpoints)
    }

    pub fn new(flags: TlsFlags, endpoints: &[String]) -> Result<Secure, Failure> {
        let TlsFlags {
            cert,
            key,
            cacert,
            believes_all,
            is_default,
        } = flags;
        if cert.is_empty() != key.is_empty() {
            let why =
                format!("KeyFile and CertFile must both be present[key: {key}, cert: {cert}]");
            return Err(Failure::args(why));
        }
        let has_files = !cert.is_empty() || !cacert.is_empty();
        let is_default = has_files || is_default;
        let speaks_tls = endpoints.iter().any(|endpoint| match scheme(endpoint) {
            Some(scheme) => scheme == "https" || scheme == "unixs",
            None => is_default,
        });
        if !speaks_tls && !has_files {
            return Ok(Secure::default());
        }
        let pair = PairFiles {
            cert: PathBuf::from(&cert),
            key: PathBuf::from(&key),
        };
        let files = ClientFiles {
            pair: (!cert.is_empty()).then_some(pair),
            trusted_ca: (!cacert.is_empty()).then(|| cacert.into()),
            believes_all,
            settings: TlsSettings::default(),
            ..ClientFiles::default()
        };
        let opened = TlsClient::open(files);
        // Files that are given must be good, also where nobody needs them.
        let tls = opened.map_err(|error| Failure::args(error.to_string()))?;
        let tls = Some(Arc::new(tls));
        Ok(Secure { tls, is_default })
    }

    /// Where an endpoint leads, if anywhere.
    pub fn address(&self, endpoint: &str) -> Option<Address> {
        let address = Address::of_url(endpoint).ok()?;
        let is_tls = address.is_tls || (scheme(endpoint).is_none() && self.is_default);
        Some(Address { is_tls, ..address })
    }

    pub fn client(&self) -> Option<Arc<TlsClient>> {
        self.tls.clone()
    }
}

/// The scheme of an endpoint, in small letters.
fn scheme(endpoint: &str) -> Option<String> {
    let (scheme, rest) = endpoint.split_once(':')?;
    let scheme = scheme.to_ascii_lowercase();
    let is_scheme = rest.starts_with("//") || ["unix", "unixs"].contains(&&scheme[..]);
    is_scheme.then_some(scheme)
}
