//! Where somebody listens, as a URL says it.

use std::fmt;
use std::path::PathBuf;
use thiserror::Error;

/// Where to listen or whom to dial, and whether TLS is spoken there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub place: Place,
    pub is_tls: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `host:port`; an IPv6 address stands in brackets.
    Tcp(String),
    /// The path of a Unix socket. Relative ones begin in the working directory, as etcd's do.
    Unix(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
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
        let is_tls = is("https") || is("unixs");
        let at = |place| Address { place, is_tls };
        if is("unix") || is("unixs") {
            let path = rest.split(['?', '#']).next().unwrap_or_default();
            return match path.is_empty() {
                true => Err(AddressError::NoPath(url.to_owned())),
                false => Ok(at(Place::Unix(path.into()))),
            };
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (_, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        // A host without a port is no address; a URI would silently take port 80.
        match host.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => Ok(at(Place::Tcp(host.to_owned()))),
            _ => Err(AddressError::NoPort(url.to_owned())),
        }
    }

    /// `host:port`, without TLS.
    pub fn tcp(address: impl Into<String>) -> Address {
        Address {
            place: Place::Tcp(address.into()),
            is_tls: false,
        }
    }

    /// What an HTTP request to it names as its authority. A socket's path is none.
    pub fn authority(&self) -> &str {
        match &self.place {
            Place::Tcp(address) => address,
            Place::Unix(_) => "localhost",
        }
    }

    /// What an HTTP request to it names as its scheme.
    pub fn scheme(&self) -> &'static str {
        match self.is_tls {
            true => "https",
            false => "http",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(address) => f.write_str(address),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
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
        let tcp = |address: &str| Ok(Address::tcp(address));
        let at = |place, is_tls| Ok(Address { place, is_tls });
        let unix = |path: &str| at(Place::Unix(path.into()), false);
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
            ("https://a:1", at(Place::Tcp("a:1".to_owned()), true)),
            ("unixs://a:1", at(Place::Unix("a:1".into()), true)),
            ("unixs:/a", at(Place::Unix("/a".into()), true)),
        ] {
            assert_eq!(Address::of_url(url), address, "{url}");
        }
    }
}
