//! What a certificate says: of its owner, of its time, of its use.

use std::net::IpAddr;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CertificateFacts {
    pub common_name: Option<String>,
    pub dns_names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    pub serial: Vec<u8>,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
    pub serves: bool,
    pub calls: bool,
}

impl CertificateFacts {
    pub fn read(der: &[u8]) -> Result<CertificateFacts, String> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let common_names = certificate.subject().iter_common_name();
        // As in Go, the last one counts.
        let common_name = common_names.filter_map(|name| name.as_str().ok()).last();
        let (mut dns_names, mut addresses) = (Vec::new(), Vec::new());
        let extension = certificate.subject_alternative_name();
        let extension = extension.map_err(|error| error.to_string())?;
        for name in extension
            .iter()
            .flat_map(|names| &names.value.general_names)
        {
            match name {
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
                _ => {}
            }
        }
        let usage = certificate.extended_key_usage();
        let usage = usage.map_err(|error| error.to_string())?;
        let usage = usage.map(|usage| usage.value);
        Ok(CertificateFacts {
            common_name: common_name.map(str::to_owned),
            dns_names,
            addresses,
            serial: certificate.tbs_certificate.serial.to_bytes_be(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            serves: usage.is_none_or(|usage| usage.any || usage.server_auth),
            calls: usage.is_none_or(|usage| usage.any || usage.client_auth),
        })
    }

    /// Whether the certificate names a host, as Go decides it: a wildcard stands for one label.
    pub fn names_host(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.dns_names.iter().any(|name| {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            match name.strip_prefix("*.") {
                Some(domain) => host
                    .split_once('.')
                    .is_some_and(|(label, rest)| !label.is_empty() && rest == domain),
                None => name == host,
            }
        })
    }

    /// The hosts that it names.
    pub fn names(&self) -> Vec<String> {
        let addresses = self.addresses.iter().map(ToString::to_string);
        self.dns_names.iter().cloned().chain(addresses).collect()
    }

    /// Who it is, for a log.
    pub fn owner(&self) -> String {
        match &self.common_name {
            Some(name) => format!("\"{name}\" (serial {})", hex(&self.serial)),
            None => format!("of serial {}", hex(&self.serial)),
        }
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
