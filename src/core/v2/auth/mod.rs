//! Users, roles and permissions of v2, which are not v3's: in etcd they lie in the same store as the
//! tree, where no path leads; here they are rows beside those of the tree.
//!
//! - [`apply`]: what a committed change does to the rows.
//! - [`judge`]: whether who asks may do what is asked, for every read and write of a key, and again
//!   when a write is applied.
//! - [`rows`]: reads of users and roles.
//!
//! Passwords are hashed, and held against their hashes, before anything enters the log: a command
//! names who asks ([`Asker`]), by the user and the change that set the password that was shown.

mod apply;
mod codec;
mod judge;
mod rows;

use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use thiserror::Error;

pub(crate) use apply::apply;
pub(super) use codec::{AUTH, ROLE, USER, check_row, decode_asked, encode_asked};
pub(crate) use codec::{decode_auth_write, encode_auth_write};
pub use judge::{may, may_change};
pub use rows::{is_enabled, role, roles, user, users};

/// The user and the role that may do everything.
pub const ROOT: &str = "root";
/// The role of those who say nothing of who they are.
pub const GUEST: &str = "guest";
/// The pattern of every path.
const EVERY_PATH: &str = "/*";

/// A user as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    /// Of the password.
    pub hash: Bytes,
    /// The index of the change that set the password.
    pub hash_index: u64,
    /// `None`: none were ever given (etcd: null).
    pub roles: Option<Vec<String>>,
}

/// The paths that a role may read and write; one that ends with `*` stands for all that begin so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPaths {
    pub read: Option<Vec<String>>,
    pub write: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    pub paths: KeyPaths,
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Asker {
    #[default]
    Guest,
    /// It has shown the password that was set by the change of this index.
    User { name: String, hash_index: u64 },
}

/// Who asks for a path, which is the one in the request: `/a/` is not `/a` to a permission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub asker: Asker,
    pub path: Bytes,
}

/// A change as it enters the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthWrite {
    pub asker: Asker,
    pub change: AuthChange,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthChange {
    Enable,
    Disable,
    /// Makes a user, or changes one.
    PutUser {
        name: String,
        /// `None`: no password was given.
        hash: Option<Bytes>,
        /// Given to a new user; empty for none.
        roles: Option<Vec<String>>,
        grant: Vec<String>,
        revoke: Vec<String>,
    },
    DeleteUser {
        name: String,
    },
    /// Makes a role, unless something is granted or revoked.
    PutRole {
        name: String,
        paths: KeyPaths,
        grant: Option<KeyPaths>,
        revoke: Option<KeyPaths>,
    },
    DeleteRole {
        name: String,
    },
}

impl AuthChange {
    /// Whether it may add to the store.
    pub fn grows(&self) -> bool {
        matches!(
            self,
            AuthChange::PutUser { .. } | AuthChange::PutRole { .. }
        )
    }
}

/// What a change has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthReply {
    Done,
    User { user: User, is_created: bool },
    Role { role: Role, is_created: bool },
}

/// Why a request is refused, in etcd's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AuthRefused {
    #[error("Insufficient credentials")]
    InsufficientCredentials,
    #[error("auth: already enabled")]
    AlreadyEnabled,
    #[error("auth: already disabled")]
    AlreadyDisabled,
    #[error("auth: No root user available, please create one")]
    NoRootUser,
    #[error("auth: Cannot create user {0} with an empty password")]
    EmptyPassword(String),
    #[error("auth: User {0} already exists.")]
    UserExists(String),
    #[error("auth: User {0} does not exist.")]
    UserNotFound(String),
    #[error("auth: User {0} does not exist")]
    DeletedUserNotFound(String),
    #[error("auth: Cannot delete root user while auth is enabled.")]
    RootUserNeeded,
    #[error("auth: User not updated. Use grant/revoke/password to update the user.")]
    UserNotUpdated,
    #[error("auth: Granting duplicate role {role} for user {user}")]
    RoleGranted { role: String, user: String },
    #[error("auth: Revoking ungranted role {role} for user {user}")]
    RoleNotGranted { role: String, user: String },
    #[error("auth: Role {0} already exists.")]
    RoleExists(String),
    #[error("auth: Role {0} does not exist.")]
    RoleNotFound(String),
    #[error("auth: Role {0} doesn't exist.")]
    DeletedRoleNotFound(String),
    #[error("auth: Cannot modify role {0}: is root role.")]
    RootRole(String),
    #[error("auth: Role not updated. Use grant/revoke to update the role.")]
    RoleNotUpdated,
    #[error("auth: Granting duplicate read permission {0}")]
    ReadGranted(String),
    #[error("auth: Granting duplicate write permission {0}")]
    WriteGranted(String),
}

impl KeyPaths {
    pub fn is_empty(&self) -> bool {
        [&self.read, &self.write]
            .into_iter()
            .flatten()
            .all(Vec::is_empty)
    }
}

impl User {
    /// Its roles; the root user's are never without the root role.
    pub fn role_names(&self) -> impl Iterator<Item = &str> {
        let roles = self.roles.iter().flatten().map(String::as_str);
        let lacks_root = self.name == ROOT && !self.roles.iter().flatten().any(|role| role == ROOT);
        roles.chain(lacks_root.then_some(ROOT))
    }
}

impl Role {
    /// One that may read and write every path.
    fn unlimited(name: &str) -> Role {
        let every = || Some(Vec::from([String::from(EVERY_PATH)]));
        Role {
            name: name.into(),
            paths: KeyPaths {
                read: every(),
                write: every(),
            },
        }
    }
}
