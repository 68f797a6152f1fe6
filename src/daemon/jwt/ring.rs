//! The signatures of tokens, by the library that TLS uses, too.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    self as ring_signature, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
    RsaEncoding, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};

/// Has the library of tokens use these. More than once is as once.
pub(super) fn install() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: signer,
        verifier_factory: verifier,
        key_utils: KeyUtils::new_unimplemented(),
    };
    let _ = PROVIDER.install_default();
}

/// The public half of a private key, if it is one for this method.
pub(super) fn public_of(algorithm: Algorithm, key: &EncodingKey) -> Option<DecodingKey> {
    Some(match pair(algorithm, key)? {
        Pair::Hmac(_) => return None,
        Pair::Rsa(pair, _) => DecodingKey::from_rsa_der(pair.public_key().as_ref()),
        Pair::Ec(pair) => DecodingKey::from_ec_der(pair.public_key().as_ref()),
        Pair::Ed(pair) => DecodingKey::from_ed_der(pair.public_key().as_ref()),
    })
}

enum Pair {
    Hmac(hmac::Key),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

fn pair(algorithm: Algorithm, key: &EncodingKey) -> Option<Pair> {
    let bytes = key.as_bytes();
    if let Some(hash) = hmac_of(algorithm) {
        return Some(Pair::Hmac(hmac::Key::new(hash, bytes)));
    }
    let rsa = |encoding| Some(Pair::Rsa(RsaKeyPair::from_der(bytes).ok()?, encoding));
    let ec = |curve: &'static EcdsaSigningAlgorithm| {
        let pair = EcdsaKeyPair::from_pkcs8(curve, bytes, &SystemRandom::new());
        Some(Pair::Ec(pair.ok()?))
    };
    match algorithm {
        Algorithm::RS256 => rsa(&ring_signature::RSA_PKCS1_SHA256),
        Algorithm::RS384 => rsa(&ring_signature::RSA_PKCS1_SHA384),
        Algorithm::RS512 => rsa(&ring_signature::RSA_PKCS1_SHA512),
        Algorithm::PS256 => rsa(&ring_signature::RSA_PSS_SHA256),
        Algorithm::PS384 => rsa(&ring_signature::RSA_PSS_SHA384),
        Algorithm::PS512 => rsa(&ring_signature::RSA_PSS_SHA512),
        Algorithm::ES256 => ec(&ring_signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::ES384 => ec(&ring_signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        // Files may hold the private half alone.
        _ => Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes)
            .ok()
            .map(Pair::Ed),
    }
}

fn hmac_of(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::HS256 => Some(hmac::HMAC_SHA256),
        Algorithm::HS384 => Some(hmac::HMAC_SHA384),
        Algorithm::HS512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

fn verification_of(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::RS256 => &ring_signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &ring_signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &ring_signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &ring_signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &ring_signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &ring_signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::ES256 => &ring_signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &ring_signature::ECDSA_P384_SHA384_FIXED,
        _ => &ring_signature::ED25519,
    }
}

struct RingSigner {
    algorithm: Algorithm,
    pair: Pair,
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    let pair = pair(*algorithm, key).ok_or(ErrorKind::InvalidKeyFormat)?;
    Ok(Box::new(RingSigner {
        algorithm: *algorithm,
        pair,
    }))
}

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)
                    .map_err(|_| signature::Error::new())?;
                Ok(signature)
            }
            Pair::Ec(pair) => {
                let signature = pair.sign(&random, message);
                let signature = signature.map_err(|_| signature::Error::new())?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Ed(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

struct RingVerifier {
    algorithm: Algorithm,
    key: Vec<u8>,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(RingVerifier {
        algorithm: *algorithm,
        key: key.try_get_as_bytes()?.to_vec(),
    }))
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match hmac_of(self.algorithm) {
            Some(hash) => hmac::verify(&hmac::Key::new(hash, &self.key), message, signature),
            None => UnparsedPublicKey::new(verification_of(self.algorithm), &self.key)
                .verify(message, signature),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
