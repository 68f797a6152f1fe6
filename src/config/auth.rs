//! The flags of authentication.

use super::parse::{Given, parse_duration_ms};
use super::resolve::uint;
use super::{Notice, UsageError};
use detcd_core::limits::{BCRYPT_COST_DEFAULT, BCRYPT_COST_MAX, BCRYPT_COST_MIN};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How users prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// What hashing a password costs: each step doubles the time.
    pub bcrypt_cost: u32,
    pub tokens: TokenConfig,
    /// How long a simple token lives that nobody uses.
    pub token_time_to_live: Duration,
}

/// What kind of tokens users are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenConfig {
    Simple,
    Jwt(JwtConfig),
}

/// How signed tokens are made and read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    pub sign_method: String,
    pub public_key: Option<PathBuf>,
    pub private_key: Option<PathBuf>,
    pub time_to_live: Duration,
}

const TOKEN_SECONDS_DEFAULT: u64 = 300;
const JWT_TIME_TO_LIVE_DEFAULT: Duration = Duration::from_secs(5 * 60);

pub(super) fn resolve(given: &Given, notices: &mut Vec<Notice>) -> Result<AuthConfig, UsageError> {
    let seconds = match uint(given, "auth-token-ttl") {
        0 => TOKEN_SECONDS_DEFAULT,
        seconds => seconds,
    };
    Ok(AuthConfig {
        bcrypt_cost: bcrypt_cost(given, notices),
        tokens: tokens(given.text("auth-token"), notices)?,
        token_time_to_live: Duration::from_secs(seconds),
    })
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

/// `simple`, or `jwt` and its options: `jwt,sign-method=RS256,priv-key=FILE,ttl=10m`.
fn tokens(text: &str, notices: &mut Vec<Notice>) -> Result<TokenConfig, UsageError> {
    let mut parts = text.split(',');
    let kind = parts.next().unwrap_or_default();
    let mut options = BTreeMap::new();
    for option in parts {
        let (name, value) = match option.split('=').collect::<Vec<_>>()[..] {
            [name, value] => (name, value),
            _ => return Err(invalid(text, &format!("{option:?} is not NAME=VALUE"))),
        };
        if options.insert(name, value).is_some() {
            return Err(invalid(text, &format!("{name} stands twice")));
        }
    }
    match kind {
        "simple" => Ok(TokenConfig::Simple),
        "jwt" => jwt(text, options, notices).map(TokenConfig::Jwt),
        other => {
            let why = format!("{other:?} is no kind of tokens: simple and jwt are");
            Err(invalid(text, &why))
        }
    }
}

fn jwt(
    text: &str,
    mut options: BTreeMap<&str, &str>,
    notices: &mut Vec<Notice>,
) -> Result<JwtConfig, UsageError> {
    let sign_method = options.remove("sign-method").unwrap_or_default();
    if sign_method.is_empty() {
        let why = "it wants sign-method=METHOD, for example sign-method=RS256";
        return Err(invalid(text, why));
    }
    let time_to_live = match options.remove("ttl") {
        None => JWT_TIME_TO_LIVE_DEFAULT,
        Some(ttl) => {
            let why = || invalid(text, &format!("ttl={ttl} is no duration, such as 10m"));
            Duration::from_millis(parse_duration_ms(ttl).ok_or_else(why)?)
        }
    };
    let config = JwtConfig {
        sign_method: sign_method.to_owned(),
        public_key: options.remove("pub-key").map(PathBuf::from),
        private_key: options.remove("priv-key").map(PathBuf::from),
        time_to_live,
    };
    if !options.is_empty() {
        let names: Vec<&str> = options.into_keys().collect();
        notices.push(Notice::Advice(format!(
            "unknown JWT options: {}",
            names.join(", ")
        )));
    }
    Ok(config)
}

fn invalid(text: &str, why: &str) -> UsageError {
    UsageError::Verify(format!(
        "auth: invalid auth options: --auth-token={text:?}: {why}"
    ))
}
