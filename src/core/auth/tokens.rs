//! Simple tokens: random text that a user was given for a name and a password, and that stands for
//! both while it lives.
//!
//! Every member learns of a token when it applies the entry that gave it, so that a token is good on
//! each of them. The table is in memory alone: a member that restarts knows no token, and its
//! clients ask for others, as they do of etcd.

use crate::api::Millis;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use bytes::Bytes;

/// The tokens that one member knows.
///
/// Each use of a token renews it. One that was not used for the time-to-live is over at once, and
/// removed when the next one is assigned.
#[derive(Debug)]
pub struct SimpleTokens {
    time_to_live: Millis,
    tokens: BTreeMap<Bytes, Token>,
    /// When each token is looked at next: when it ends, unless it was renewed since.
    looks: BTreeSet<(Millis, Bytes)>,
}

#[derive(Clone, Debug)]
struct Token {
    holder: TokenHolder,
    ends: Millis,
}

/// Who a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHolder {
    pub user: String,
    /// The auth revision by which the token was assigned.
    pub revision: u64,
}

impl SimpleTokens {
    pub fn new(time_to_live: Millis) -> SimpleTokens {
        assert!(time_to_live.0 > 0, "a token lives");
        SimpleTokens {
            time_to_live,
            tokens: BTreeMap::new(),
            looks: BTreeSet::new(),
        }
    }

    /// Takes up a token. Its text names one entry of the log, so that none is ever assigned twice.
    pub fn assign(&mut self, now: Millis, token: Bytes, holder: TokenHolder) {
        self.remove_ended(now);
        let ends = now + self.time_to_live;
        self.looks.insert((ends, token.clone()));
        self.tokens.insert(token, Token { holder, ends });
    }

    /// Who the token stands for, if it lives. That renews it.
    pub fn find(&mut self, now: Millis, token: &[u8]) -> Option<&TokenHolder> {
        let token = self.tokens.get_mut(token)?;
        if token.ends <= now {
            return None;
        }
        token.ends = now + self.time_to_live;
        Some(&token.holder)
    }

    /// Ends every token of a user: the password is another one, or the user is no more.
    pub fn end_user(&mut self, user: &str) {
        self.tokens.retain(|_, token| token.holder.user != user);
    }

    /// Ends every token: authentication was switched off, or entries were skipped that may have ended
    /// some.
    pub fn end_all(&mut self) {
        self.tokens.clear();
        self.looks.clear();
    }

    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    fn remove_ended(&mut self, now: Millis) {
        while let Some((look, token)) = self.looks.pop_first() {
            if look > now {
                self.looks.insert((look, token));
                return;
            }
            match self.tokens.get(&token).map(|token| token.ends) {
                Some(ends) if ends > now => {
                    self.looks.insert((ends, token));
                }
                _ => {
                    self.tokens.remove(&token);
                }
            }
        }
    }

    /// States what always holds.
    pub fn check(&self) {
        let looked_at: BTreeSet<&Bytes> = self.looks.iter().map(|(_, token)| token).collect();
        assert!(
            self.tokens.keys().all(|token| looked_at.contains(token)),
            "every token is looked at some day"
        );
        for (look, token) in &self.looks {
            if let Some(token) = self.tokens.get(token) {
                assert!(*look <= token.ends, "a token is looked at before it ends");
            }
        }
    }
}

/// The index of the entry that assigned a token: what follows the last point of its text.
pub fn assigned_at(token: &[u8]) -> Option<u64> {
    let at = token.iter().rposition(|byte| *byte == b'.')?;
    let digits = &token[at + 1..];
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let digits = core::str::from_utf8(digits).ok().filter(|_| is_number)?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    const TTL: Millis = Millis(1_000);

    fn holder(user: &str) -> TokenHolder {
        TokenHolder {
            user: user.to_string(),
            revision: 7,
        }
    }

    fn assign(tokens: &mut SimpleTokens, now: u64, token: &'static str, user: &str) {
        tokens.assign(
            Millis(now),
            Bytes::from_static(token.as_bytes()),
            holder(user),
        );
        tokens.check();
    }

    fn user(tokens: &mut SimpleTokens, now: u64, token: &str) -> Option<String> {
        let found = tokens.find(Millis(now), token.as_bytes()).cloned();
        tokens.check();
        found.map(|holder| holder.user)
    }

    #[test]
    fn token_lives_while_it_is_used_and_no_longer() {
        let mut tokens = SimpleTokens::new(TTL);
        assign(&mut tokens, 0, "a.1", "alice");
        assert_eq!(user(&mut tokens, 999, "a.1").as_deref(), Some("alice"));
        assert_eq!(user(&mut tokens, 1_998, "a.1").as_deref(), Some("alice"));
        assert_eq!(user(&mut tokens, 2_998, "a.1"), None);
        assert_eq!(user(&mut tokens, 2_998, "a.2"), None);
        assert_eq!(user(&mut tokens, 2_998, ""), None);
    }

    #[test]
    fn ended_tokens_are_removed_and_renewed_ones_stay() {
        let mut tokens = SimpleTokens::new(TTL);
        assign(&mut tokens, 0, "a.1", "alice");
        assign(&mut tokens, 0, "b.2", "bob");
        assert!(user(&mut tokens, 900, "b.2").is_some());
        assign(&mut tokens, 1_000, "c.3", "carol");
        assert_eq!(tokens.len(), 2);
        assert_eq!(user(&mut tokens, 1_899, "b.2").as_deref(), Some("bob"));
        assign(&mut tokens, 5_000, "d.4", "dave");
        assert_eq!(tokens.len(), 1);
    }

    #[test]
    fn tokens_of_a_user_end_with_the_password_and_all_with_authentication() {
        let mut tokens = SimpleTokens::new(TTL);
        assign(&mut tokens, 0, "a.1", "alice");
        assign(&mut tokens, 0, "a.2", "alice");
        assign(&mut tokens, 0, "b.3", "bob");
        tokens.end_user("alice");
        tokens.check();
        assert_eq!(user(&mut tokens, 1, "a.1"), None);
        assert_eq!(user(&mut tokens, 1, "a.2"), None);
        assert!(user(&mut tokens, 1, "b.3").is_some());
        assign(&mut tokens, 2, "a.4", "alice");
        assert!(user(&mut tokens, 3, "a.4").is_some());
        tokens.end_all();
        tokens.check();
        assert!(tokens.is_empty());
    }

    #[test]
    fn text_names_the_entry_that_assigned_it() {
        assert_eq!(assigned_at(b"abc.12"), Some(12));
        assert_eq!(assigned_at(b"a.b.12"), Some(12));
        for text in ["", ".", "abc", "abc.", "abc.x", "abc.+1", "abc.-1"] {
            assert_eq!(assigned_at(text.as_bytes()), None, "{text}");
        }
        assert_eq!(assigned_at(b"abc.99999999999999999999"), None);
    }
}
