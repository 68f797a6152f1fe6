//! Where somebody listens, as a URL says it.

use std::fmt;
use std::path::PathBuf;
use thiserror::Error;

/// A place to listen at or to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `host:port`; an IPv6 address stands in brackets.
    Tcp(String),
    /// The path of a Unix socket. Relative ones begin in the working directory, as etcd's do.
    Unix(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    #[error("{0} needs TLS, which this version of detcd does not speak")]
    Tls(String),
    #[error("{0} has no host and port")]
    NoPort(String),
    #[error("{0} has no path")]
    NoPath(String),
}

impl Address {
    /// The address of a URL such as `http://127.0.0.1:2379`, `unix:///run/etcd.sock`, `unix:a` or,
    /// without a scheme, `127.0.0.1:2379`. What follows a host and its port does not matter.
    pub fn of_url(url: &str) -> Result<Address, AddressError> {
        let (scheme, rest) = split_scheme(url);
        let is = |name: &str| scheme.eq_ignore_ascii_case(name);
        if is("https") || is("unixs") {
            return Err(AddressError::Tls(url.to_owned()));
        }
        if is("unix") {
            let path = rest.split(['?', '#']).next().unwrap_or_default();
            return match path.is_empty() {
                true => Err(AddressError::NoPath(url.to_owned())),
                false => Ok(Address::Unix(path.into())),
            };
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (_, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        // A host without a port is no address; a URI would silently take port 80.
        match host.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => Ok(Address::Tcp(host.to_owned())),
            _ => Err(AddressError::NoPort(url.to_owned())),
        }
    }

    /// What an HTTP request to it names as its authority. A socket's path is none.
    pub fn authority(&self) -> &str {
        match self {
            Address::Tcp(address) => address,
            Address::Unix(_) => "localhost",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => f.write_str(address),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The scheme, if there is one, and what stands behind its colon and slashes.
fn split_scheme(url: &str) -> (&str, &str) {
    if let Some((scheme, rest)) = url.split_once("://") {
        return (scheme, rest);
    }
    match url.split_once(':') {
        Some((scheme, rest)) if ["unix", "unixs"].contains(&scheme) => (scheme, rest),
        _ => ("", url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_the_address_that_etcdctl_dials() {
        let tcp = |address: &str| Ok(Address::Tcp(address.to_owned()));
        let unix = |path: &str| Ok(Address::Unix(path.into()));
        for (url, address) in [
            ("http://a:1", tcp("a:1")),
            ("HTTP://a:1/", tcp("a:1")),
            ("http://user@[::1]:2/x?y#z", tcp("[::1]:2")),
            ("127.0.0.1:2379", tcp("127.0.0.1:2379")),
            ("unix://a:1", unix("a:1")),
            ("unix:a:1", unix("a:1")),
            ("UNIX://./a:1", unix("./a:1")),
            ("unix:///run/etcd.sock", unix("/run/etcd.sock")),
            ("unix:/run/etcd.sock", unix("/run/etcd.sock")),
            ("unix://a:1?b", unix("a:1")),
            ("unix://", Err(AddressError::NoPath("unix://".to_owned()))),
            ("a", Err(AddressError::NoPort("a".to_owned()))),
            ("http://a", Err(AddressError::NoPort("http://a".to_owned()))),
            (
                "https://a:1",
                Err(AddressError::Tls("https://a:1".to_owned())),
            ),
            (
                "unixs://a:1",
                Err(AddressError::Tls("unixs://a:1".to_owned())),
            ),
        ] {
            assert_eq!(Address::of_url(url), address, "{url}");
        }
    }
}
