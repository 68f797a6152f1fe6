//! The headers of a request as gRPC's metadata.

use ::http::{HeaderMap, HeaderName, HeaderValue, header};

const PREFIX: &str = "grpc-metadata-";
/// What may stand before a token, and is no part of it.
const BEARER: &[u8] = b"Bearer ";

/// The metadata that the headers stand for: the authorization, and whatever is named for it.
pub fn of(headers: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::new();
    for (name, value) in headers {
        if *name == header::AUTHORIZATION {
            metadata.append(name.clone(), bare(value));
        }
        let named = name.as_str().strip_prefix(PREFIX);
        if let Some(Ok(name)) = named.map(str::parse::<HeaderName>) {
            metadata.append(name, value.clone());
        }
    }
    metadata
}

fn bare(token: &HeaderValue) -> HeaderValue {
    let bare = token.as_bytes().strip_prefix(BEARER);
    let bare = bare.map(HeaderValue::from_bytes);
    match bare {
        Some(Ok(bare)) => bare,
        _ => token.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_headers_and_the_authorization_are_metadata() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "a"),
            ("accept", "b"),
            ("grpc-metadata-hasleader", "true"),
            ("grpc-metadata-", "c"),
            ("grpc-timeout", "1S"),
            ("token", "d"),
        ] {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        let mut expected = HeaderMap::new();
        expected.insert("authorization", "a".parse().unwrap());
        expected.insert("hasleader", "true".parse().unwrap());
        assert_eq!(of(&headers), expected);
        headers.insert("authorization", "Bearer a".parse().unwrap());
        assert_eq!(of(&headers), expected);
    }
}
