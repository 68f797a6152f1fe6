//! Who asks over HTTP/1: basic authentication, or the client's certificate.

use crate::server::Context;
use ::http::request::Parts;
use ::http::{Extensions, HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use detcd_net::tls::PeerName;
use detcd_service::{Caller, Credentials};

/// The caller of a request. What is said in an `Authorization` header goes first.
pub(super) fn caller(context: &Context, head: &Parts) -> Caller {
    of(context, &head.headers, &head.extensions)
}

pub(super) fn of(context: &Context, headers: &HeaderMap, extensions: &Extensions) -> Caller {
    let said = headers.get(header::AUTHORIZATION).map(|it| it.as_bytes());
    let certificate = || match context.options.client_cert_auth {
        true => {
            let name = extensions.get::<PeerName>()?.common_name.as_deref();
            name.map(str::to_owned)
        }
        false => None,
    };
    let credentials = match said {
        Some(said) if !said.is_empty() => basic(said),
        _ => certificate().map_or(Credentials::None, Credentials::CommonName),
    };
    Caller {
        credentials,
        ..Caller::default()
    }
}

/// A user and a password; what is neither is nobody's token.
fn basic(said: &[u8]) -> Credentials {
    let unknown = || Credentials::Token(Bytes::copy_from_slice(said));
    let Some((scheme, encoded)) = said.split_at_checked(b"basic ".len()) else {
        return unknown();
    };
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return unknown();
    }
    let Ok(decoded) = STANDARD.decode(encoded) else {
        return unknown();
    };
    let text = String::from_utf8_lossy(&decoded);
    match text.split_once(':') {
        Some((user, password)) => Credentials::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        },
        None => unknown(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_authentication_is_read_as_go_does() {
        let password = |user: &str, password: &str| Credentials::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        assert_eq!(basic(b"Basic cm9vdDpw"), password("root", "p"));
        assert_eq!(basic(b"bASIC cm9vdDpwOng="), password("root", "p:x"));
        for said in [
            &b"Basic"[..],
            b"Bearer cm9vdDpw",
            b"Basic cm9vdA==",
            b"Basic !",
        ] {
            assert!(matches!(basic(said), Credentials::Token(_)), "{said:?}");
        }
    }
}
