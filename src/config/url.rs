//! The URLs of flags, which [`detcd_core::url`] reads.

pub use detcd_core::url::{Scheme, Url, UrlError, parse_all, parse_named};

/// URLs separated by commas.
pub fn parse_list(text: &str) -> Result<Vec<Url>, UrlError> {
    parse_all(text.split(','))
}

/// `urls` as a flag would give them.
pub fn join(urls: &[Url]) -> String {
    urls.iter().map(Url::as_str).collect::<Vec<_>>().join(",")
}
