//! The URLs of flags: scheme, host and port, checked as etcd checks them.

use std::fmt;
use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    Http,
    Https,
    Unix,
    Unixs,
}

/// A URL of a listener or an advertised address. Its text is kept as it was given: member ids are
/// computed from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url {
    text: String,
    pub scheme: Scheme,
    /// `host:port`; for an IPv6 address with its brackets. For unix sockets, the path.
    pub address: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    #[error("URL scheme must be http, https, unix, or unixs: {0}")]
    Scheme(String),
    #[error("URL address does not have the form \"host:port\": {0}")]
    NoPort(String),
    #[error("URL must not contain a path: {0}")]
    Path(String),
    #[error("parse {0:?}: {1}")]
    Parse(String, String),
}

impl Url {
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(without_scheme(text));
        };
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "unix" => Scheme::Unix,
            "unixs" => Scheme::Unixs,
            _ => return Err(UrlError::Scheme(text.to_owned())),
        };
        let url = |address: &str| Url {
            text: text.to_owned(),
            scheme,
            address: address.to_owned(),
        };
        if matches!(scheme, Scheme::Unix | Scheme::Unixs) {
            return Ok(url(rest));
        }
        let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_end);
        if let Some(at) = authority.find('%') {
            let escape: String = authority[at..].chars().take(3).collect();
            let reason = format!("invalid URL escape {escape:?}");
            return Err(UrlError::Parse(text.to_owned(), reason));
        }
        let Some((host, port)) = split_port(authority) else {
            return Err(UrlError::NoPort(text.to_owned()));
        };
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            let reason = format!("invalid port {:?} after host", format!(":{port}"));
            return Err(UrlError::Parse(text.to_owned(), reason));
        }
        if !path.is_empty() {
            return Err(UrlError::Path(text.to_owned()));
        }
        debug_assert!(authority.starts_with(host));
        Ok(url(authority))
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host (an IPv6 address without its brackets) and port.
    pub fn host_port(&self) -> (&str, &str) {
        let (host, port) = split_port(&self.address).unwrap_or((&self.address, ""));
        (host.trim_start_matches('[').trim_end_matches(']'), port)
    }

    pub fn is_tls(&self) -> bool {
        matches!(self.scheme, Scheme::Https | Scheme::Unixs)
    }

    pub fn is_unix(&self) -> bool {
        matches!(self.scheme, Scheme::Unix | Scheme::Unixs)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// URLs separated by commas, sorted as etcd sorts them.
pub fn parse_list(text: &str) -> Result<Vec<Url>, UrlError> {
    let mut urls = text
        .split(',')
        .map(Url::parse)
        .collect::<Result<Vec<_>, _>>()?;
    urls.sort();
    Ok(urls)
}

/// `urls` as a flag would give them.
pub fn join(urls: &[Url]) -> String {
    urls.iter().map(Url::as_str).collect::<Vec<_>>().join(",")
}

/// Go's parser takes what stands before the first colon for a scheme, unless it cannot be one.
fn without_scheme(text: &str) -> UrlError {
    let colon = text.split('/').next().and_then(|segment| segment.find(':'));
    match colon {
        Some(0) => UrlError::Parse(text.to_owned(), "missing protocol scheme".to_owned()),
        Some(_) if !text.starts_with(|c: char| c.is_ascii_alphabetic()) => UrlError::Parse(
            text.to_owned(),
            "first path segment in URL cannot contain colon".to_owned(),
        ),
        _ => UrlError::Scheme(text.to_owned()),
    }
}

fn split_port(authority: &str) -> Option<(&str, &str)> {
    let (host, port) = authority.rsplit_once(':')?;
    let bare_ipv6 = host.contains(':') && !host.ends_with(']');
    (!bare_ipv6).then_some((host, port))
}
