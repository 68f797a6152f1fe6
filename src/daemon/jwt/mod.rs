//! JSON Web Tokens (`--auth-token jwt,...`): tokens that say themselves who they stand for, as of
//! which auth revision and until when, and are signed. Members need not know them: they need a key.

mod keys;
mod ring;

use crate::config::JwtConfig;
use bytes::Bytes;
use detcd_core::auth::AuthInfo;
use detcd_core::error::Error;
use detcd_service::SignedTokens;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, decode, encode};
pub use keys::KeyError;
use keys::Keys;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Tokens that were verified before and are remembered. With more of them everything is forgotten.
const VERIFIED_MAX: usize = 4096;

/// Signs and verifies tokens by one method and its keys.
pub struct JwtTokens {
    header: Header,
    validation: Validation,
    /// `None` on a member that only verifies.
    signs: Option<EncodingKey>,
    verifies: DecodingKey,
    time_to_live: Duration,
    /// A signature takes as long to verify as a write takes altogether, and a client shows the same
    /// token again and again.
    verified: Mutex<BTreeMap<Bytes, Claims>>,
}

/// What a token says, as etcd's do.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Claims {
    /// Seconds since the Unix epoch. A token of others may have no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<f64>,
    revision: f64,
    username: String,
}

impl JwtTokens {
    pub fn open(config: &JwtConfig) -> Result<JwtTokens, KeyError> {
        ring::install();
        let Keys {
            algorithm,
            signs,
            verifies,
        } = Keys::open(config)?;
        let mut validation = Validation::new(algorithm);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Ok(JwtTokens {
            header: Header::new(algorithm),
            validation,
            signs,
            verifies,
            time_to_live: config.time_to_live,
            verified: Mutex::default(),
        })
    }

    fn read(&self, token: &[u8]) -> Option<Claims> {
        let now = unix_seconds();
        let lives = |claims: &Claims| claims.exp.is_none_or(|end| now <= end);
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(claims) = verified.get(token) {
            return Some(claims.clone()).filter(lives);
        }
        drop(verified);
        let read = decode::<Claims>(token, &self.verifies, &self.validation).ok()?;
        let claims = Some(read.claims).filter(lives)?;
        verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= VERIFIED_MAX {
            verified.clear();
        }
        verified.insert(Bytes::copy_from_slice(token), claims.clone());
        Some(claims)
    }
}

impl SignedTokens for JwtTokens {
    fn sign(&self, user: &AuthInfo) -> Result<String, Error> {
        let key = self.signs.as_ref().ok_or(Error::TokenVerifyOnly)?;
        let claims = Claims {
            exp: Some((unix_seconds() + self.time_to_live.as_secs_f64()).floor()),
            revision: user.revision as f64,
            username: user.user.clone(),
        };
        encode(&self.header, &claims, key).map_err(|error| {
            tracing::warn!(%error, "cannot sign a token");
            Error::InvalidAuthToken
        })
    }

    fn verify(&self, token: &[u8]) -> Option<AuthInfo> {
        let claims = self.read(token)?;
        let is_revision = claims.revision >= 0.0 && claims.revision.fract() == 0.0;
        is_revision.then_some(AuthInfo {
            user: claims.username,
            revision: claims.revision as u64,
        })
    }
}

impl fmt::Debug for JwtTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwtTokens({:?})", self.header.alg)
    }
}

/// By the wall clock, which is what the ends of tokens are told in.
fn unix_seconds() -> f64 {
    detcd_rt::wall_unix_ms() as f64 / 1000.0
}

#[cfg(test)]
mod tests;
