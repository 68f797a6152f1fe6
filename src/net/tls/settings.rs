//! Versions of TLS and cipher suites.

use super::files::TlsError;
use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// What both sides of a connection may agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    pub min: TlsVersion,
    pub max: TlsVersion,
    /// The suites of TLS 1.2 by their numbers; all if there are none. As in Go, those of TLS 1.3
    /// are not a choice.
    pub cipher_suites: Vec<u16>,
}

impl Default for TlsSettings {
    fn default() -> TlsSettings {
        TlsSettings {
            min: TlsVersion::V1_2,
            max: TlsVersion::V1_3,
            cipher_suites: Vec::new(),
        }
    }
}

impl TlsSettings {
    pub(super) fn provider(&self) -> Result<Arc<CryptoProvider>, TlsError> {
        let mut provider = ring::default_provider();
        if !self.cipher_suites.is_empty() {
            let chosen = |suite: &SupportedCipherSuite| {
                is_of_1_3(suite) || self.cipher_suites.contains(&u16::from(suite.suite()))
            };
            provider.cipher_suites.retain(chosen);
        }
        let has_1_2 = !provider.cipher_suites.iter().all(is_of_1_3);
        match self.max == TlsVersion::V1_2 && !has_1_2 {
            true => Err(TlsError::NoSuite),
            false => Ok(Arc::new(provider)),
        }
    }

    /// Without a suite for it, TLS 1.2 is not spoken.
    pub(super) fn versions(
        &self,
        provider: &CryptoProvider,
    ) -> Vec<&'static SupportedProtocolVersion> {
        let range = self.min..=self.max;
        let has_1_2 = !provider.cipher_suites.iter().all(is_of_1_3);
        let all = [
            (TlsVersion::V1_3, &TLS13, true),
            (TlsVersion::V1_2, &TLS12, has_1_2),
        ];
        all.into_iter()
            .filter(|(version, _, usable)| *usable && range.contains(version))
            .map(|(_, version, _)| version)
            .collect()
    }
}

fn is_of_1_3(suite: &SupportedCipherSuite) -> bool {
    matches!(suite, SupportedCipherSuite::Tls13(_))
}
