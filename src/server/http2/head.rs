//! The head of a request: whether h2 takes it as it is, and what it is given otherwise.

use super::field::{Method, Role, path_fits};
use super::hpack::{Decoder, LIST_SIZE_MAX, encode};
use std::borrow::Cow;

/// The path of a request without one. No method has it.
const NO_PATH: &[u8] = b"*";
/// What is left of a path that is longer than any method's.
const PATH_BYTES_MAX: usize = 1024;

/// What is to become of a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// h2 takes it.
    Pass,
    /// etcd takes it and h2 does not, as it is.
    Rewrite,
    /// Its stream is to be reset.
    Refuse,
}

/// What the fields of a header block amount to.
#[derive(Debug, Default)]
pub(super) struct Head {
    method: Option<Method>,
    /// Whether h2 takes the pseudo-header field, if there is one.
    scheme: Option<bool>,
    path: Option<bool>,
    authority: Option<bool>,
    has_fields: bool,
    is_grpc: bool,
    has_content_length: bool,
    has_connection_field: bool,
    is_malformed: bool,
}

impl Head {
    /// Takes the next field into account.
    pub fn add(&mut self, role: Role) {
        let repeated = match role {
            Role::Method(method) => self.method.replace(method).is_some(),
            Role::Scheme { fits } => self.scheme.replace(fits).is_some(),
            Role::Path { fits } => self.path.replace(fits).is_some(),
            Role::Authority { fits } => self.authority.replace(fits).is_some(),
            Role::Malformed => true,
            _ => {
                self.has_fields = true;
                self.is_grpc |= role == Role::ContentType { grpc: true };
                self.has_content_length |= role == Role::ContentLength;
                self.has_connection_field |= role == Role::Connection;
                return;
            }
        };
        // Pseudo-header fields come first.
        self.is_malformed |= repeated || self.has_fields;
    }

    /// The verdict on the head of a request, whose fields together have this size.
    pub fn verdict(&self, list_size: usize) -> Verdict {
        if self.is_malformed || list_size > LIST_SIZE_MAX {
            return Verdict::Refuse;
        }
        let fits = |part: Option<bool>| part == Some(true);
        match self.method {
            Some(Method::Post) => {}
            // grpc-go's servers know no other method.
            _ if self.is_grpc => return Verdict::Refuse,
            Some(Method::Other) => {}
            // It has no scheme and no path.
            Some(Method::Connect) => {
                let is_whole = fits(self.authority) && !self.has_connection_field;
                return match is_whole {
                    true => Verdict::Pass,
                    false => Verdict::Refuse,
                };
            }
            None => return Verdict::Refuse,
        }
        // etcd does not compare a call's length with what is said of it.
        let contradicts = self.has_content_length && self.is_grpc;
        let as_it_is = fits(self.scheme)
            && fits(self.path)
            && self.authority.unwrap_or(true)
            && !self.has_connection_field
            && !contradicts;
        match as_it_is {
            true => Verdict::Pass,
            false => Verdict::Rewrite,
        }
    }

    /// The block that `decoder` has decoded as one that h2 takes whatever its dynamic table holds.
    pub fn rewrite(&self, decoder: &Decoder, out: &mut Vec<u8>) {
        if matches!(self.method, Some(Method::Post | Method::Other)) {
            if self.scheme.is_none() {
                encode(b":scheme", b"http", out);
            }
            if self.path.is_none() {
                encode(b":path", NO_PATH, out);
            }
        }
        for (name, value, role) in decoder.fields() {
            let value = match role {
                Role::Authority { fits: false } | Role::Connection => continue,
                Role::ContentLength if self.is_grpc => continue,
                Role::Scheme { fits: false } => Cow::Borrowed(&b"http"[..]),
                Role::Path { fits: false } => mended_path(value),
                _ => Cow::Borrowed(value),
            };
            encode(name, &value, out);
        }
    }
}

/// A block whose stream h2 resets.
pub(super) fn refused(out: &mut Vec<u8>) {
    encode(b"connection", b"close", out);
}

/// The path that etcd sees, as one that h2 takes: etcd needs no slash at its beginning.
fn mended_path(path: &[u8]) -> Cow<'_, [u8]> {
    match path {
        b"" => Cow::Borrowed(NO_PATH),
        _ if path_fits(path) => Cow::Borrowed(path),
        [b'/', rest @ ..] | rest => Cow::Owned([b"/", &escaped(rest)[..]].concat()),
    }
}

/// Percent escapes for what no URI has.
fn escaped(path: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::new();
    for byte in path.iter().copied().take(PATH_BYTES_MAX) {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&byte) {
            out.push(byte);
        } else {
            out.extend([
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::uri::PathAndQuery;
    use proptest::prelude::*;

    #[test]
    fn paths_are_mended_as_etcd_reads_them() {
        for (path, mended) in [
            ("", "*"),
            ("etcdserverpb.KV/Put", "/etcdserverpb.KV/Put"),
            ("/etcdserverpb.KV/Put", "/etcdserverpb.KV/Put"),
            ("//a/b", "//a/b"),
            ("/a#b", "/a%23b"),
            ("/a b", "/a%20b"),
        ] {
            assert_eq!(mended_path(path.as_bytes()), mended.as_bytes(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn every_mended_path_is_taken(path in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let mended = mended_path(&path);
            let taken = PathAndQuery::try_from(&mended[..]).unwrap();
            prop_assert_eq!(taken.as_str().as_bytes(), &mended[..]);
        }
    }
}
