//! Paths as Go's mux takes them: unescaped, and redirected to what they are without `.`, `..` and
//! empty components.

use detcd_core::percent;
use detcd_core::v2;
use std::fmt::Write as _;

pub(super) const KEYS: &[u8] = b"/v2/keys";

/// Where a path leads, in unescaped bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    Clean(Vec<u8>),
    /// The client is to ask for this one.
    Moved(Vec<u8>),
}

impl Target {
    /// Whether it leads to the keys.
    pub fn is_keys(&self) -> bool {
        let (Target::Clean(path) | Target::Moved(path)) = self;
        path.strip_prefix(KEYS)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }
}

/// `None` for a path that cannot be read.
pub fn target(path: &str) -> Option<Target> {
    let path = unescape(path.as_bytes())?;
    let mut clean = v2::clean(&path).to_vec();
    if path.ends_with(b"/") {
        clean.push(b'/');
    }
    Some(match clean == path {
        true => Target::Clean(path),
        false => Target::Moved(clean),
    })
}

fn unescape(path: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(match byte {
            b'%' => {
                rest = after.get(2..)?;
                percent::escaped(after)?
            }
            byte => *byte,
        });
    }
    Some(bytes)
}

/// A path and a query as a header's value.
pub(super) fn location(path: &[u8], query: Option<&str>) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path {
        match byte {
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(*byte)),
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'='
            | b'@' => out.push(char::from(*byte)),
            byte => write!(out, "%{byte:02X}").expect("a string takes everything"),
        }
    }
    if let Some(query) = query {
        out.push('?');
        out.push_str(query);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_unescaped_and_redirected() {
        let clean = |path: &[u8]| Some(Target::Clean(path.to_vec()));
        assert_eq!(target("/v2/keys/a%2Fb/"), clean(b"/v2/keys/a/b/"));
        assert_eq!(target("/v2/keys/%ff+"), clean(b"/v2/keys/\xff+"));
        assert_eq!(target("/v2/keys/%zz"), None);
        let moved = Some(Target::Moved(b"/v2/keys/b c".to_vec()));
        assert_eq!(target("/v2//keys/a/../b%20c"), moved);
        assert_eq!(
            location(b"/v2/keys/b c\xc3", Some("x=1")),
            "/v2/keys/b%20c%C3?x=1"
        );
        assert!(!target("/v2/keysx").unwrap().is_keys());
        assert!(target("/v2/keys").unwrap().is_keys());
    }
}
