//! The URLs of members and listeners, taken apart and checked as etcd does it (with Go's package
//! `net/url`): flags, the member RPCs and detcdctl all read URLs here.

use crate::percent;
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    Http,
    Https,
    Unix,
    Unixs,
}

/// A URL with a host and a port, and no path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url {
    /// As Go prints it: member ids are computed from it, and clients are shown it.
    text: String,
    pub scheme: Scheme,
    /// `host:port`; for an IPv6 address with its brackets. For unix sockets, the path.
    pub address: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    #[error("no valid URLs given")]
    None,
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
        let (whole, fragment) = text.split_once('#').unwrap_or((text, ""));
        let wrong = |why: String| UrlError::Parse(whole.to_owned(), why);
        if whole.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(wrong(
                "net/url: invalid control character in URL".to_owned(),
            ));
        }
        let (scheme, rest) = split_scheme(whole).map_err(wrong)?;
        let path_end = rest.find('?').unwrap_or(rest.len());
        let (place, query) = rest.split_at(path_end);
        let first_segment = place.split('/').next().unwrap_or_default();
        if scheme.is_none() && first_segment.contains(':') {
            let why = "first path segment in URL cannot contain colon";
            return Err(wrong(why.to_owned()));
        }
        let (authority, path) = match place.strip_prefix("//") {
            Some(place) => place.split_at(place.find('/').unwrap_or(place.len())),
            None => ("", place),
        };
        let (user, host) = split_user(authority).map_err(wrong)?;
        let address = unescape_host(host).map_err(wrong)?;
        let scheme = known(scheme.unwrap_or_default());
        let Some((name, scheme)) = scheme else {
            return Err(UrlError::Scheme(text.to_owned()));
        };
        if matches!(scheme, Scheme::Unix | Scheme::Unixs) {
            let path = place.strip_prefix("//").unwrap_or(place);
            if path.is_empty() {
                return Err(UrlError::NoPort(text.to_owned()));
            }
            return Ok(Url {
                text: format!("{name}:{rest}"),
                scheme,
                address: path.to_owned(),
            });
        }
        if split_host_port(&address).is_none() {
            return Err(UrlError::NoPort(text.to_owned()));
        }
        if !path.is_empty() {
            return Err(UrlError::Path(text.to_owned()));
        }
        let hash = if fragment.is_empty() { "" } else { "#" };
        let shown = escape_host(&address);
        Ok(Url {
            text: format!("{name}://{user}{shown}{query}{hash}{fragment}"),
            scheme,
            address,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host (an IPv6 address without its brackets) and port. Both are empty for unix sockets.
    pub fn host_port(&self) -> (&str, &str) {
        match self.is_unix() {
            true => ("", ""),
            false => split_host_port(&self.address).expect("checked when it was parsed"),
        }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self.scheme, Scheme::Https | Scheme::Unixs)
    }

    pub fn is_unix(&self) -> bool {
        matches!(self.scheme, Scheme::Unix | Scheme::Unixs)
    }

    /// Whether another member could connect to it: there is a path, or a host and a port that TCP
    /// has.
    pub fn is_reachable(&self) -> bool {
        if self.is_unix() {
            return true;
        }
        let (host, port) = self.host_port();
        !host.is_empty() && port.parse::<u16>().is_ok()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Some URLs, sorted as etcd sorts them.
pub fn parse_all<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Vec<Url>, UrlError> {
    let urls = texts.into_iter().map(|text| Url::parse(text.as_ref()));
    let mut urls = urls.collect::<Result<Vec<_>, _>>()?;
    if urls.is_empty() {
        return Err(UrlError::None);
    }
    urls.sort();
    Ok(urls)
}

/// Members by name: `NAME=URL,NAME=URL,...`; a name may stand several times.
pub fn parse_named(text: &str) -> Result<BTreeMap<String, Vec<Url>>, UrlError> {
    let mut members: BTreeMap<String, Vec<Url>> = BTreeMap::new();
    let items = text.split(',').map(str::trim);
    for item in items.filter(|item| !item.is_empty()) {
        let (name, text) = item.split_once('=').unwrap_or((item, ""));
        // etcd skips items without a name; a check of the local name then says what is wrong.
        if name.is_empty() {
            continue;
        }
        let urls = members.entry(name.to_owned()).or_default();
        urls.push(Url::parse(text)?);
    }
    members.values_mut().for_each(|urls| urls.sort());
    Ok(members)
}

/// Host, without the brackets of an IPv6 address, and port of `host:port`.
pub fn split_host_port(address: &str) -> Option<(&str, &str)> {
    let (host, port) = address.rsplit_once(':')?;
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let has_brackets = |text: &str| text.contains(['[', ']']);
    (!has_brackets(bare) && !has_brackets(port)).then_some((bare, port))
}

fn known(scheme: &str) -> Option<(&'static str, Scheme)> {
    let schemes = [
        ("http", Scheme::Http),
        ("https", Scheme::Https),
        ("unix", Scheme::Unix),
        ("unixs", Scheme::Unixs),
    ];
    let mut schemes = schemes.into_iter();
    schemes.find(|(name, _)| scheme.eq_ignore_ascii_case(name))
}

/// The scheme, if the text has one, and what stands behind its colon.
fn split_scheme(text: &str) -> Result<(Option<&str>, &str), String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let end = text.bytes().position(|byte| !is_part(byte));
    let Some(end) = end.filter(|end| text.as_bytes()[*end] == b':') else {
        return Ok((None, text));
    };
    match text.bytes().next() {
        Some(b':') => Err("missing protocol scheme".to_owned()),
        Some(first) if first.is_ascii_alphabetic() => Ok((Some(&text[..end]), &text[end + 1..])),
        _ => Ok((None, text)),
    }
}

/// The user of an authority, with the `@` behind it, and the host with its port.
fn split_user(authority: &str) -> Result<(&str, &str), String> {
    let at = authority.rfind('@').map_or(0, |at| at + 1);
    let (user, host) = authority.split_at(at);
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    match user.bytes().all(is_good) {
        true => Ok((user, host)),
        false => Err("net/url: invalid userinfo".to_owned()),
    }
}

/// A host without its escapes, of which there may be those for bytes that are no ASCII, and those
/// of an IPv6 address's zone.
fn unescape_host(host: &str) -> Result<String, String> {
    let port_start = match host.strip_prefix('[') {
        Some(_) => match host.rfind(']') {
            Some(end) => Some(end + 1),
            None => return Err("missing ']' in host".to_owned()),
        },
        None => host.rfind(':'),
    };
    let port = port_start.map_or("", |start| &host[start..]);
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_number) {
        return Err(format!("invalid port {port:?} after host"));
    }
    let mut bytes = Vec::with_capacity(host.len());
    let mut rest = host.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            if byte.is_ascii() && !stands_in_host(byte) {
                let shown = char::from(byte).to_string();
                return Err(format!("invalid character {shown:?} in host name"));
            }
            bytes.push(byte);
            continue;
        }
        let allowed = |escaped: &u8| !escaped.is_ascii() || *escaped == b'%';
        let Some(escaped) = percent::escaped(tail).filter(allowed) else {
            let shown = String::from_utf8_lossy(&tail[..tail.len().min(2)]);
            return Err(format!("invalid URL escape {:?}", format!("%{shown}")));
        };
        bytes.push(escaped);
        rest = &tail[2..];
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn escape_host(host: &str) -> String {
    let mut shown = String::with_capacity(host.len());
    for byte in host.bytes() {
        match stands_in_host(byte) {
            true => shown.push(char::from(byte)),
            // A string takes everything.
            false => drop(write!(shown, "%{byte:02X}")),
        }
    }
    shown
}

/// Whether a byte needs no escape in a host.
fn stands_in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<(String, String), String> {
        match Url::parse(text) {
            Ok(url) => Ok((url.to_string(), url.address)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What etcd 3.5.1 made of each, as a listener or as a member's URL.
    #[test]
    fn urls_are_read_as_etcd_reads_them() {
        for (text, as_shown, address) in [
            ("http://a:1", "http://a:1", "a:1"),
            (" \thttp://a:1\n", "http://a:1", "a:1"),
            ("HTTP://A:1", "http://A:1", "A:1"),
            ("hTtPs://a:1", "https://a:1", "a:1"),
            ("http://[::1]:1", "http://[::1]:1", "[::1]:1"),
            (
                "http://[fe80::1%25lo]:1",
                "http://[fe80::1%25lo]:1",
                "[fe80::1%lo]:1",
            ),
            ("http://a:1?x=1", "http://a:1?x=1", "a:1"),
            ("http://a:1#", "http://a:1", "a:1"),
            ("http://a:1#f", "http://a:1#f", "a:1"),
            ("http://u:p@a:1", "http://u:p@a:1", "a:1"),
            ("http://a:", "http://a:", "a:"),
            ("http://:1", "http://:1", ":1"),
            ("http://a:99999", "http://a:99999", "a:99999"),
            ("http://é:1", "http://%C3%A9:1", "é:1"),
            ("unix://a:1", "unix://a:1", "a:1"),
        ] {
            assert_eq!(shown(text), Ok((as_shown.into(), address.into())), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused_in_etcds_words() {
        let scheme = "URL scheme must be http, https, unix, or unixs: ";
        let no_port = "URL address does not have the form \"host:port\": ";
        let path = "URL must not contain a path: ";
        for (text, refusal) in [
            ("", scheme.to_owned()),
            ("a", format!("{scheme}a")),
            ("//a:1", format!("{scheme}//a:1")),
            ("localhost:2379", format!("{scheme}localhost:2379")),
            ("mailto://a:1", format!("{scheme}mailto://a:1")),
            ("http:", format!("{no_port}http:")),
            ("http:a:1", format!("{no_port}http:a:1")),
            ("http:/a:1", format!("{no_port}http:/a:1")),
            ("http://a", format!("{no_port}http://a")),
            ("http://a:1:2", format!("{no_port}http://a:1:2")),
            ("http://::1:2", format!("{no_port}http://::1:2")),
            ("http://a:1/", format!("{path}http://a:1/")),
            ("http://a:1//", format!("{path}http://a:1//")),
            ("://a:1", "parse \"://a:1\": missing protocol scheme".into()),
            (
                "127.0.0.1:1",
                "parse \"127.0.0.1:1\": first path segment in URL cannot contain colon".into(),
            ),
            (
                "http://a:b",
                "parse \"http://a:b\": invalid port \":b\" after host".into(),
            ),
            (
                "http://[::1]1",
                "parse \"http://[::1]1\": invalid port \"1\" after host".into(),
            ),
            (
                "http://[::1:1",
                "parse \"http://[::1:1\": missing ']' in host".into(),
            ),
            (
                "http://a b:1",
                "parse \"http://a b:1\": invalid character \" \" in host name".into(),
            ),
            (
                "http://a\u{1}:1",
                "parse \"http://a\\u{1}:1\": net/url: invalid control character in URL".into(),
            ),
            (
                "http://%zz:1",
                "parse \"http://%zz:1\": invalid URL escape \"%zz\"".into(),
            ),
            (
                "http://%41:1",
                "parse \"http://%41:1\": invalid URL escape \"%41\"".into(),
            ),
            (
                "http://a%",
                "parse \"http://a%\": invalid URL escape \"%\"".into(),
            ),
            (
                "http://a|@b:1",
                "parse \"http://a|@b:1\": net/url: invalid userinfo".into(),
            ),
        ] {
            assert_eq!(shown(text), Err(refusal), "{text}");
        }
        let none: [&str; 0] = [];
        assert_eq!(parse_all(none), Err(UrlError::None));
    }

    #[test]
    fn whom_a_member_can_be_reached_by_has_a_host_and_a_port() {
        for (text, reachable) in [
            ("http://a:1", true),
            ("https://[::1]:65535", true),
            ("http://a:65536", false),
            ("http://a:", false),
            ("http://:1", false),
            ("unix://a:1", true),
            ("unix:///run/a", true),
        ] {
            assert_eq!(
                Url::parse(text).unwrap().is_reachable(),
                reachable,
                "{text}"
            );
        }
    }
}
