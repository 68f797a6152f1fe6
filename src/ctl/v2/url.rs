//! Endpoints and the URLs of requests, read and written as Go's package `net/url` does.

use crate::ctl::go;
use std::fmt;

/// One of the cluster's URLs. Its parts are as they were written, but for the scheme's case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    pub scheme: String,
    /// `host:port` or `host`, behind two slashes; empty for what has none.
    pub authority: String,
    pub path: String,
    /// What follows a scheme without slashes, such as the port in `localhost:2379`.
    pub opaque: String,
}

impl Endpoint {
    pub fn parse(text: &str) -> Result<Endpoint, String> {
        let wrong = |why: &str| Err(format!("parse {}: {why}", go::quote(text.as_bytes())));
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            return wrong("net/url: invalid control character in URL");
        }
        let Ok((scheme, rest)) = split_scheme(text) else {
            return wrong("missing protocol scheme");
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let mut endpoint = Endpoint {
            scheme: scheme.to_ascii_lowercase(),
            authority: String::new(),
            path: rest.to_owned(),
            opaque: String::new(),
        };
        if let Some(place) = rest.strip_prefix("//") {
            let (authority, path) = place.split_at(place.find('/').unwrap_or(place.len()));
            if let Some(port) = bad_port(authority) {
                let why = format!("invalid port {} after host", go::quote(port.as_bytes()));
                return wrong(&why);
            }
            (endpoint.authority, endpoint.path) = (authority.to_owned(), path.to_owned());
        } else if !scheme.is_empty() && !rest.starts_with('/') {
            (endpoint.opaque, endpoint.path) = (rest.to_owned(), String::new());
        } else if rest
            .split('/')
            .next()
            .is_some_and(|part| part.contains(':'))
        {
            return wrong("first path segment in URL cannot contain colon");
        }
        Ok(endpoint)
    }

    /// As etcdctl takes endpoints: without a scheme it is plain HTTP.
    pub fn of_flag(text: &str) -> Result<Endpoint, String> {
        let mut endpoint = Endpoint::parse(text)?;
        if endpoint.scheme.is_empty() {
            endpoint.scheme = "http".to_owned();
            endpoint = Endpoint::parse(&endpoint.to_string())?;
        }
        Ok(endpoint)
    }

    /// The endpoint's URL with another path.
    pub fn with_path(&self, path: &str) -> Endpoint {
        Endpoint {
            path: path.to_owned(),
            ..self.clone()
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        if !self.opaque.is_empty() {
            return write!(f, ":{}", self.opaque);
        }
        write!(f, "://{}{}", self.authority, self.path)
    }
}

/// The scheme before the first colon; an error if there is a colon and nothing before it.
fn split_scheme(text: &str) -> Result<(&str, &str), ()> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    match text.bytes().position(|byte| !is_part(byte)) {
        Some(0) if text.starts_with(':') => Err(()),
        Some(at) if text[at..].starts_with(':') && text.as_bytes()[0].is_ascii_alphabetic() => {
            Ok((&text[..at], &text[at + 1..]))
        }
        _ => Ok(("", text)),
    }
}

/// The port of an authority with its colon, if it is no number.
fn bad_port(authority: &str) -> Option<&str> {
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let port = match host.rfind(']') {
        Some(end) => &host[end + 1..],
        None => &host[host.find(':')?..],
    };
    let digits = port.strip_prefix(':')?;
    (!digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(port)
}

/// A path without `.`, `..` and doubled slashes. A slash at its end stays.
pub fn clean_path(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut clean = Vec::new();
    for part in parts {
        clean.push(b'/');
        clean.extend_from_slice(part);
    }
    if clean.is_empty() || path.ends_with(b"/") {
        clean.push(b'/');
    }
    clean
}

/// A path as a URL has it.
pub fn escape_path(path: &[u8]) -> String {
    escape(path, b"-_.~$&+,/:;=@")
}

/// Names and values as a query or a form has them: by name.
pub fn encode_pairs(pairs: &[(&str, Vec<u8>)]) -> String {
    let mut sorted: Vec<_> = pairs.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    let escaped = sorted.into_iter().map(|(name, value)| {
        let value = escape(value, b"-_.~ ").replace(' ', "+");
        format!("{name}={value}")
    });
    escaped.collect::<Vec<_>>().join("&")
}

fn escape(bytes: &[u8], kept: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        byte if byte.is_ascii_alphanumeric() || kept.contains(byte) => char::from(*byte).into(),
        byte => format!("%{byte:02X}"),
    };
    bytes.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_etcdctl_reads_them() {
        let read = |text: &str| Endpoint::of_flag(text).map(|endpoint| endpoint.to_string());
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(read("http://a:1"), ok("http://a:1"));
        assert_eq!(read("HTTP://a:1/x?y#z"), ok("http://a:1/x"));
        assert_eq!(read("a"), ok("http://a"));
        assert_eq!(read("a/b"), ok("http://a/b"));
        assert_eq!(read("http://[::1]:1"), ok("http://[::1]:1"));
        assert_eq!(read("localhost:1"), ok("localhost:1"));
        assert_eq!(read("unix:///run/x"), ok("unix:///run/x"));
        for (text, why) in [
            (":", "parse \":\": missing protocol scheme"),
            (
                "127.0.0.1:1",
                "parse \"127.0.0.1:1\": first path segment in URL cannot contain colon",
            ),
            (
                "http://a:b",
                "parse \"http://a:b\": invalid port \":b\" after host",
            ),
        ] {
            assert_eq!(read(text), Err(why.to_owned()));
        }
    }

    #[test]
    fn paths_are_cleaned_and_escaped() {
        for (path, clean) in [
            ("/v2/keys/", "/v2/keys/"),
            ("/v2/keys/a//b/../c/", "/v2/keys/a/c/"),
            ("//", "/"),
            ("/..", "/"),
            ("/a/.", "/a"),
        ] {
            assert_eq!(clean_path(path.as_bytes()), clean.as_bytes(), "{path}");
        }
        assert_eq!(
            escape_path("/a b/ü?#%".as_bytes()),
            "/a%20b/%C3%BC%3F%23%25"
        );
        let pairs = [("value", b"a b&~".to_vec()), ("ttl", b"5".to_vec())];
        assert_eq!(encode_pairs(&pairs), "ttl=5&value=a+b%26~");
    }
}
