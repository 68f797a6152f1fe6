//! The flags of authentication.

use super::Notice;
use super::parse::Given;
use super::resolve::uint;
use detcd_core::limits::{BCRYPT_COST_DEFAULT, BCRYPT_COST_MAX, BCRYPT_COST_MIN};

/// How users prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// What hashing a password costs: each step doubles the time.
    pub bcrypt_cost: u32,
}

pub(super) fn resolve(given: &Given, notices: &mut Vec<Notice>) -> AuthConfig {
    AuthConfig {
        bcrypt_cost: bcrypt_cost(given, notices),
    }
}

fn bcrypt_cost(given: &Given, notices: &mut Vec<Notice>) -> u32 {
    let cost = uint(given, "bcrypt-cost");
    match u32::try_from(cost) {
        Ok(cost) if (BCRYPT_COST_MIN..=BCRYPT_COST_MAX).contains(&cost) => cost,
        _ => {
            notices.push(Notice::Advice(format!(
                "use default bcrypt cost instead of the invalid given cost: {cost} given, \
                 {BCRYPT_COST_MIN} to {BCRYPT_COST_MAX} allowed, {BCRYPT_COST_DEFAULT} used"
            )));
            BCRYPT_COST_DEFAULT
        }
    }
}
