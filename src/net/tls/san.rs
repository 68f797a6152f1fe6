//! Whether a client calls from where its certificate says that it is. As in etcd, members are asked
//! this, and clients are not.

use super::names::CertificateFacts;
use crate::limits::REVERSE_LOOKUP_TIMEOUT;
use std::net::IpAddr;
use tokio::net::lookup_host;

/// Checks a certificate against the address of the connection on which it was presented. One
/// without addresses and names may come from anywhere.
pub(super) async fn check(facts: &CertificateFacts, address: IpAddr) -> Result<(), String> {
    let CertificateFacts {
        addresses,
        dns_names,
        ..
    } = facts;
    let address = address.to_canonical();
    if addresses.contains(&address) || (addresses.is_empty() && dns_names.is_empty()) {
        return Ok(());
    }
    if dns_names.is_empty() {
        let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        return Err(format!(
            "x509: certificate is valid for {}, not {address}",
            shown.join(", ")
        ));
    }
    match detcd_rt::timeout(REVERSE_LOOKUP_TIMEOUT, is_named(address, dns_names)).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(mismatch(address, dns_names, "")),
        Err(_) => Err(mismatch(address, dns_names, " (name lookup timed out)")),
    }
}

fn mismatch(address: IpAddr, names: &[String], why: &str) -> String {
    let shown: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    format!(
        "tls: \"{address}\" does not match any of DNSNames [{}]{why}",
        shown.join(" ")
    )
}

/// Whether one of `names` leads to the address, or the address to one of them.
async fn is_named(address: IpAddr, names: &[String]) -> bool {
    let found = tokio::task::spawn_blocking(move || dns_lookup::lookup_addr(&address));
    if let Ok(Ok(found)) = found.await {
        let found = found.trim_end_matches('.');
        let fits = |name: &String| match name.strip_prefix('*') {
            Some(domain) if domain.starts_with('.') => found.ends_with(domain),
            _ => name == found,
        };
        if names.iter().any(fits) {
            return true;
        }
    }
    for name in names.iter().filter(|name| !name.starts_with("*.")) {
        if let Ok(mut found) = lookup_host((name.as_str(), 0)).await
            && found.any(|it| it.ip().to_canonical() == address)
        {
            return true;
        }
    }
    false
}
