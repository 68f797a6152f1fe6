//! The keys that sign and verify tokens, from etcd's options and the files that they name.

use super::ring::public_of;
use crate::config::JwtConfig;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why tokens cannot be signed and verified as `--auth-token` asks. etcd's words come first, where
/// it has them.
#[derive(Debug, Error)]
pub enum KeyError {
    #[error(
        "unsupported signing method: {0}; --auth-token takes RS, PS and HS with 256, 384 and 512, \
         ES256, ES384 and EdDSA"
    )]
    Method(String),
    #[error("auth: missing key data; --auth-token wants {0}")]
    Missing(&'static str),
    #[error("auth: invalid auth options: open {0}: {1}")]
    Read(PathBuf, io::Error),
    #[error("Invalid Key: {path} holds no {kind} for {method}, in PEM")]
    Key {
        path: PathBuf,
        kind: &'static str,
        method: String,
    },
    #[error("auth: public and private keys don't match: {0} and {1}")]
    Mismatch(PathBuf, PathBuf),
}

pub(super) struct Keys {
    pub algorithm: Algorithm,
    /// `None` if tokens are to be verified alone.
    pub signs: Option<EncodingKey>,
    pub verifies: DecodingKey,
}

impl Keys {
    pub fn open(config: &JwtConfig) -> Result<Keys, KeyError> {
        let method = &config.sign_method;
        let algorithm: Algorithm = method
            .parse()
            .map_err(|_| KeyError::Method(method.clone()))?;
        match algorithm.family() {
            AlgorithmFamily::Hmac => secret(config, algorithm),
            _ => pair(config, algorithm),
        }
    }
}

/// One secret for both, which is what the file holds, to its last byte.
fn secret(config: &JwtConfig, algorithm: Algorithm) -> Result<Keys, KeyError> {
    let missing = || KeyError::Missing("priv-key=FILE for an HS method");
    let path = config.private_key.as_ref().ok_or_else(missing)?;
    let secret = read(path)?;
    let keys = EncodingKey::from_secret(&secret).and_then(|signs| {
        let verifies = DecodingKey::from_secret(&secret)?;
        Ok((signs, verifies))
    });
    let (signs, verifies) = keys.map_err(|_| missing())?;
    Ok(Keys {
        algorithm,
        signs: Some(signs),
        verifies,
    })
}

/// A private key, a public one, or both: the public half of the private one verifies, too.
fn pair(config: &JwtConfig, algorithm: Algorithm) -> Result<Keys, KeyError> {
    let (private, public) = (&config.private_key, &config.public_key);
    let signs = private.as_ref().map(|path| private_key(path, algorithm));
    let signs = signs.transpose()?;
    let given = public.as_ref().map(|path| public_key(path, algorithm));
    let given = given.transpose()?;
    let derived = match (&signs, private) {
        (Some(signs), Some(path)) => {
            let derived = public_of(algorithm, signs);
            Some(derived.ok_or_else(|| no_key(path, "private key", algorithm))?)
        }
        _ => None,
    };
    if let (Some(given), Some(derived)) = (&given, &derived)
        && given.try_get_as_bytes().ok() != derived.try_get_as_bytes().ok()
        && let (Some(public), Some(private)) = (public, private)
    {
        return Err(KeyError::Mismatch(public.clone(), private.clone()));
    }
    let missing = "pub-key=FILE to verify tokens, priv-key=FILE to sign them, or both";
    let verifies = given.or(derived).ok_or(KeyError::Missing(missing))?;
    Ok(Keys {
        algorithm,
        signs,
        verifies,
    })
}

fn private_key(path: &Path, algorithm: Algorithm) -> Result<EncodingKey, KeyError> {
    let pem = read(path)?;
    let key = match algorithm.family() {
        AlgorithmFamily::Rsa => EncodingKey::from_rsa_pem(&pem),
        AlgorithmFamily::Ec => match sec1_in_pkcs8(&pem, algorithm) {
            Some(key) => Ok(EncodingKey::from_ec_der(&key)),
            None => EncodingKey::from_ec_pem(&pem),
        },
        _ => EncodingKey::from_ed_pem(&pem),
    };
    key.map_err(|_| no_key(path, "private key", algorithm))
}

fn public_key(path: &Path, algorithm: Algorithm) -> Result<DecodingKey, KeyError> {
    let pem = read(path)?;
    let key = match algorithm.family() {
        AlgorithmFamily::Rsa => DecodingKey::from_rsa_pem(&pem),
        AlgorithmFamily::Ec => DecodingKey::from_ec_pem(&pem),
        _ => DecodingKey::from_ed_pem(&pem),
    };
    key.map_err(|_| no_key(path, "public key", algorithm))
}

fn no_key(path: &Path, kind: &'static str, algorithm: Algorithm) -> KeyError {
    KeyError::Key {
        path: path.to_owned(),
        kind,
        method: format!("{algorithm:?}"),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    std::fs::read(path).map_err(|error| KeyError::Read(path.to_owned(), error))
}

/// A key on a curve as `openssl ecparam -genkey` writes it (SEC 1), in the form that the library
/// takes (PKCS #8).
fn sec1_in_pkcs8(pem: &[u8], algorithm: Algorithm) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once("-----BEGIN EC PRIVATE KEY-----")?;
    let (base64, _) = rest.split_once("-----END EC PRIVATE KEY-----")?;
    let base64: String = base64.split_whitespace().collect();
    let key = BASE64_STANDARD.decode(base64).ok()?;
    let curve: &[u8] = match algorithm {
        Algorithm::ES256 => &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        _ => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
    };
    let kind = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    let kind = der(0x30, &[&kind[..], curve].concat());
    let version = [0x02, 0x01, 0x00];
    let content = [&version[..], &kind, &der(0x04, &key)].concat();
    Some(der(0x30, &content))
}

/// A value of ASN.1 with its tag and length.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let mut value = vec![tag];
    match length {
        [0, short] if short < 0x80 => value.push(short),
        [0, short] => value.extend([0x81, short]),
        [high, low] => value.extend([0x82, high, low]),
    }
    value.extend(content);
    value
}
