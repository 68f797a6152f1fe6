//! What changes users and roles, and what comes of it.

use super::state::AuthState;
use super::types::Permission;
use crate::api::KeyRange;
use alloc::string::String;
use alloc::sync::Arc;
use bytes::Bytes;

/// A change of users and roles. Passwords are hashed before they come here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthCommand {
    Enable,
    Disable,
    /// The user's password was found right at this auth revision. `token_prefix` is drawn before
    /// the command is proposed, and the index of its entry makes a token of it; without one no
    /// member keeps a token.
    Authenticate {
        user: String,
        token_prefix: String,
        checked_revision: u64,
    },
    UserAdd {
        name: String,
        password: Bytes,
        no_password: bool,
    },
    UserDelete {
        name: String,
    },
    UserChangePassword {
        name: String,
        password: Bytes,
    },
    UserGrantRole {
        user: String,
        role: String,
    },
    UserRevokeRole {
        user: String,
        role: String,
    },
    RoleAdd {
        name: String,
    },
    RoleDelete {
        name: String,
    },
    /// A request without a permission is refused like every other one: after its principal.
    RoleGrantPermission {
        role: String,
        permission: Option<Permission>,
    },
    RoleRevokePermission {
        role: String,
        range: KeyRange,
    },
}

/// What an entry did to users, roles and tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthChange {
    /// As they are after it.
    pub state: Arc<AuthState>,
    pub tokens: Option<TokenChange>,
}

/// What an entry did to the tokens that members keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenChange {
    /// A user has a new one, as of this auth revision.
    Assigned {
        user: String,
        token: String,
        revision: u64,
    },
    /// Those of a user are worth nothing any more.
    Ended {
        user: String,
    },
    AllEnded,
}
