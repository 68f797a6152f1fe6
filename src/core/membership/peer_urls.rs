//! Whether two lists of URLs name the same addresses, though one names hosts and the other IPs.

use crate::url::{Scheme, Url};
use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::net::IpAddr;

/// The first address of each URL's host, or why it has none.
pub type Resolved = BTreeMap<Url, Result<String, String>>;

/// How two lists of URLs compare, in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    Same,
    /// Where they differ, in etcd's words.
    Different(String),
    /// These have to be looked up first.
    Unresolved(Vec<Url>),
}

/// Compares two lists by what their hosts resolve to. URLs that are the same are not looked up,
/// unlike in etcd.
pub fn compare(a: &[Url], b: &[Url], resolved: &Resolved) -> Compared {
    if a.len() != b.len() {
        return Compared::Different(format!("len({}) != len({})", quoted(a), quoted(b)));
    }
    if is_same_text(a, b) {
        return Compared::Same;
    }
    let is_missing = |url: &&Url| !stays(url) && !resolved.contains_key(url);
    let missing: Vec<Url> = a.iter().chain(b).filter(is_missing).cloned().collect();
    if !missing.is_empty() {
        return Compared::Unresolved(missing);
    }
    let (a, b) = match (resolve_all(a, resolved), resolve_all(b, resolved)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(why), _) | (_, Err(why)) => return Compared::Different(why),
    };
    match a.iter().zip(&b).find(|(a, b)| a.0 != b.0) {
        None => Compared::Same,
        Some(((a, was_a), (b, was_b))) => Compared::Different(format!(
            "\"{a}\"(resolved from \"{was_a}\") != \"{b}\"(resolved from \"{was_b}\")"
        )),
    }
}

/// Whether both are the same texts, in any order.
pub fn is_same_text(a: &[Url], b: &[Url]) -> bool {
    let sorted = |urls: &[Url]| {
        let mut urls: Vec<String> = urls.iter().map(Url::to_string).collect();
        urls.sort();
        urls
    };
    sorted(a) == sorted(b)
}

/// The URL with the address that its host was resolved to.
pub fn with_address(url: &Url, address: &str) -> String {
    let scheme = match url.scheme {
        Scheme::Https => "https",
        _ => "http",
    };
    format!("{scheme}://{address}")
}

/// As in etcd an address stays as it is, and so does `localhost`, which may mean another one on each
/// machine.
fn stays(url: &Url) -> bool {
    let (host, _) = url.host_port();
    url.is_unix() || host == "localhost" || host.parse::<IpAddr>().is_ok()
}

/// Each URL as it resolves and as it was, sorted by the first.
fn resolve_all(urls: &[Url], resolved: &Resolved) -> Result<Vec<(String, String)>, String> {
    let resolve = |url: &Url| match resolved.get(url) {
        Some(found) if !stays(url) => found.clone(),
        _ => Ok(url.as_str().to_owned()),
    };
    let pairs = urls.iter().map(|url| Ok((resolve(url)?, url.to_string())));
    let mut pairs = pairs.collect::<Result<Vec<_>, String>>()?;
    pairs.sort();
    Ok(pairs)
}

/// As Go prints a list of strings in quotes.
fn quoted(urls: &[Url]) -> String {
    let quoted: Vec<String> = urls.iter().map(|url| format!("\"{url}\"")).collect();
    format!("[{}]", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(texts: &[&str]) -> Vec<Url> {
        texts.iter().map(|text| Url::parse(text).unwrap()).collect()
    }

    #[test]
    fn names_are_compared_by_what_they_resolve_to() {
        let (a, b) = (urls(&["http://n:1"]), urls(&["http://10.0.0.1:1"]));
        let mut resolved = Resolved::new();
        assert_eq!(compare(&a, &b, &resolved), Compared::Unresolved(a.clone()));
        resolved.insert(a[0].clone(), Ok(with_address(&a[0], "10.0.0.1:1")));
        assert_eq!(compare(&a, &b, &resolved), Compared::Same);
        resolved.insert(a[0].clone(), Ok(with_address(&a[0], "10.0.0.2:1")));
        let different = "\"http://10.0.0.2:1\"(resolved from \"http://n:1\") != \
                         \"http://10.0.0.1:1\"(resolved from \"http://10.0.0.1:1\")";
        assert_eq!(
            compare(&a, &b, &resolved),
            Compared::Different(different.into())
        );
        resolved.insert(a[0].clone(), Err("no such host".into()));
        let failed = Compared::Different("no such host".into());
        assert_eq!(compare(&a, &b, &resolved), failed);
    }

    #[test]
    fn what_is_the_same_is_not_looked_up() {
        let none = Resolved::new();
        let (a, b) = (
            urls(&["http://n:1", "http://m:2"]),
            urls(&["http://m:2", "HTTP://n:1"]),
        );
        assert_eq!(compare(&a, &b, &none), Compared::Same);
        let (a, b) = (urls(&["http://localhost:1"]), urls(&["http://127.0.0.1:1"]));
        assert!(matches!(compare(&a, &b, &none), Compared::Different(_)));
        let count = compare(
            &urls(&["http://n:1"]),
            &urls(&["http://n:1", "http://n:2"]),
            &none,
        );
        let different = "len([\"http://n:1\"]) != len([\"http://n:1\" \"http://n:2\"])";
        assert_eq!(count, Compared::Different(different.into()));
    }
}
