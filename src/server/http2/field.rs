//! What a header field is, to h2 and to etcd.

use http::uri::{Authority, PathAndQuery, Scheme};

/// What a field is to the request that it is a part of, and whether h2 takes it (`fits`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Method(Method),
    Scheme {
        fits: bool,
    },
    Path {
        fits: bool,
    },
    Authority {
        fits: bool,
    },
    ContentType {
        grpc: bool,
    },
    ContentLength,
    /// About the connection, and no part of HTTP/2: etcd does not look at it, h2 resets its stream.
    Connection,
    Other,
    /// Neither takes it. etcd resets its stream, h2 would end the connection.
    Malformed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Post,
    Connect,
    Other,
}

impl Role {
    /// The role of a field whose name is that of another one with the role `Other`.
    pub fn of_other(value: &[u8]) -> Role {
        match value.iter().copied().all(is_value_byte) {
            true => Role::Other,
            false => Role::Malformed,
        }
    }

    pub fn of(name: &[u8], value: &[u8]) -> Role {
        if !value.iter().copied().all(is_value_byte) {
            return Role::Malformed;
        }
        match name {
            b":method" => match value {
                b"POST" => Role::Method(Method::Post),
                b"CONNECT" => Role::Method(Method::Connect),
                _ if is_token(value) => Role::Method(Method::Other),
                _ => Role::Malformed,
            },
            b":scheme" => Role::Scheme {
                fits: Scheme::try_from(value).is_ok(),
            },
            b":path" => Role::Path {
                fits: path_fits(value),
            },
            b":authority" => Role::Authority {
                fits: !value.is_empty() && Authority::try_from(value).is_ok(),
            },
            b"content-type" => Role::ContentType {
                grpc: is_grpc(value),
            },
            b"content-length" => Role::ContentLength,
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding"
            | b"upgrade" => Role::Connection,
            b"te" if value != b"trailers" => Role::Connection,
            _ if name.len() <= NAME_BYTES_MAX && name.iter().copied().all(is_name_byte) => {
                match name.is_empty() {
                    true => Role::Malformed,
                    false => Role::Other,
                }
            }
            _ => Role::Malformed,
        }
    }
}

/// What the crate http takes of a name at most, and of a path.
const NAME_BYTES_MAX: usize = u16::MAX as usize - 1;

/// Whether grpc-go takes a request of this content type for a call.
pub(crate) fn is_grpc(content_type: &[u8]) -> bool {
    content_type
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Whether the crate http leaves the path as it is: it cuts off a fragment.
pub(super) fn path_fits(path: &[u8]) -> bool {
    if path.first() != Some(&b'/') {
        return false;
    }
    // What methods' names consist of is seen at once.
    let is_name = path.len() <= NAME_BYTES_MAX && path.iter().copied().all(is_path_name_byte);
    is_name || (!path.contains(&b'#') && PathAndQuery::try_from(path).is_ok())
}

fn is_path_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-')
}

fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// HTTP/2 has names in lower case only.
fn is_name_byte(byte: u8) -> bool {
    is_token_byte(byte) && !byte.is_ascii_uppercase()
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    #[test]
    fn names_and_values_are_those_that_etcd_and_the_crate_http_take() {
        for byte in 0..=255_u8 {
            let name = [b'a', byte];
            let role = Role::of(&name, b"v");
            let taken = HeaderName::from_lowercase(&name).is_ok();
            // It takes a quotation mark, which etcd does not.
            assert_eq!(role == Role::Other, taken && byte != b'"', "name {byte}");
            let role = Role::of(b"name", &name);
            let taken = HeaderValue::from_bytes(&name).is_ok();
            assert_eq!(role == Role::Other, taken, "value {byte}");
            let role = Role::of(b":method", &name);
            let taken = http::Method::from_bytes(&name).is_ok();
            assert_eq!(role != Role::Malformed, taken, "method {byte}");
        }
        for (length, role) in [(65_534, Role::Other), (65_535, Role::Malformed)] {
            assert_eq!(Role::of(&vec![b'a'; length], b""), role);
        }
    }

    #[test]
    fn content_types_are_judged_as_grpc_go_does() {
        for (text, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=x", true),
            ("application/grpcx", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(text.as_bytes()), grpc, "{text}");
        }
    }

    proptest! {
        /// What fits is taken by the crate that h2 asks, and stays what it is.
        #[test]
        fn a_path_that_fits_stays_as_it_is(path in "[/a-z#?% <\u{e9}]{0,8}") {
            if path_fits(path.as_bytes()) {
                let taken = PathAndQuery::try_from(path.as_bytes()).unwrap();
                prop_assert_eq!(taken.as_str(), &path);
            }
        }
    }
}
