//! Tokens: how clients get them, and who they stand for.

use crate::Credentials;
use detcd_core::auth::{AuthInfo, AuthState};
use detcd_core::error::Error;
use detcd_driver::Handle;
use futures::future::BoxFuture;
use std::fmt;
use std::sync::Arc;

/// What kind of tokens a cluster gives (`--auth-token`).
#[derive(Clone, Debug, Default)]
pub enum TokenKind {
    /// Random text that every member learns from the log.
    #[default]
    Simple,
    /// Text that says itself who it stands for, and is signed.
    Signed(Arc<dyn SignedTokens>),
}

/// Makes and reads signed tokens.
pub trait SignedTokens: fmt::Debug + Send + Sync {
    /// A token that stands for a user as of an auth revision.
    fn sign(&self, user: &AuthInfo) -> Result<String, Error>;

    /// Who a token stands for, if its signature is good and it lives.
    fn verify(&self, token: &[u8]) -> Option<AuthInfo>;
}

/// As long as etcd's, and of the same letters.
const PREFIX_LETTERS: usize = 16;

impl TokenKind {
    /// The random part of the next simple token, settled before the log; empty if the log need not
    /// tell the members of it.
    pub fn prefix(&self) -> String {
        match self {
            TokenKind::Simple => (0..PREFIX_LETTERS).map(|_| letter()).collect(),
            TokenKind::Signed(_) => String::new(),
        }
    }

    /// What the client is given, once the log has let it in: `simple` is the token that it has
    /// assigned, if it has.
    pub fn issue(&self, simple: String, user: &AuthInfo) -> Result<String, Error> {
        match self {
            TokenKind::Simple => Ok(simple),
            TokenKind::Signed(signed) => signed.sign(user),
        }
    }

    /// Waits until `member` knows the token that a client shows; `None` if there is nothing to wait
    /// for.
    pub fn ready(
        &self,
        member: &Handle,
        credentials: &Credentials,
    ) -> Option<BoxFuture<'static, ()>> {
        match (self, credentials) {
            (TokenKind::Simple, Credentials::Token(token)) => member.tokens().ready(token),
            _ => None,
        }
    }

    /// Who a client is, by what it shows and by the users of `auth`; `None` if it shows nothing.
    pub fn identify(
        &self,
        member: &Handle,
        credentials: &Credentials,
        auth: &AuthState,
    ) -> Result<Option<AuthInfo>, Error> {
        let token = match credentials {
            Credentials::None => return Ok(None),
            Credentials::CommonName(name) => {
                return Ok(Some(AuthInfo {
                    user: name.clone(),
                    revision: auth.revision(),
                }));
            }
            // A password is exchanged for a token before.
            Credentials::Password { .. } => return Err(Error::InvalidAuthToken),
            Credentials::Token(token) => token,
        };
        let known = match self {
            TokenKind::Signed(signed) => signed.verify(token),
            TokenKind::Simple => member
                .tokens()
                .find(token)
                .filter(|holder| auth.keeps_token(&holder.user, holder.revision))
                .map(|holder| AuthInfo {
                    user: holder.user,
                    revision: auth.revision(),
                }),
        };
        known.map(Some).ok_or(Error::InvalidAuthToken)
    }

    /// Whether what a client shows is judged by the users of the moment, and not by those of the time
    /// when it was signed.
    pub fn follows_users(&self, credentials: &Credentials) -> bool {
        match credentials {
            Credentials::None => false,
            Credentials::Token(_) => matches!(self, TokenKind::Simple),
            Credentials::CommonName(_) | Credentials::Password { .. } => true,
        }
    }
}

fn letter() -> char {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    // The remainder favours some letters by less than one in 10^17.
    let at = detcd_rt::random_u64() % LETTERS.len() as u64;
    char::from(LETTERS[at as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_sixteen_letters_and_never_the_same() {
        let prefix = TokenKind::Simple.prefix();
        assert_eq!(prefix.len(), PREFIX_LETTERS);
        assert!(
            prefix.chars().all(|it| it.is_ascii_alphabetic()),
            "{prefix}"
        );
        assert_ne!(prefix, TokenKind::Simple.prefix());
    }
}
