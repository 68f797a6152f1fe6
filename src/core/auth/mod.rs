//! Users, roles and permissions: who may do what.
//!
//! Everything is a row and changes through the log, so that every member judges a command alike.
//! [`AuthState`] is a copy of the rows in memory with what they amount to for each user; apply
//! keeps it right, and each published view has the one that belongs to it.
//!
//! There is one judge ([`AuthState::judge`]). A command is judged when it is applied, by the state
//! that the entries before it left; a read, by the state of the view that it reads; a watcher, when
//! it is created and after every change. Nothing is decided by what was true when the request came.
//!
//! # Glossary
//! *Auth revision*: how often users and roles were changed (not the revision of keys). *Principal*:
//! on whose behalf a command is applied. *Account*: a user, and what the user's roles amount to.

mod apply;
mod codec;
mod command;
mod judge;
mod ranges;
mod state;
pub mod tokens;
mod types;

pub(crate) use apply::apply;
pub(crate) use codec::{
    AuthMeta, check_role_row, check_user_row, encode_auth_meta, encode_role as role_row,
    encode_user as user_row,
};
pub use codec::{
    META_AUTH, decode_auth_command, decode_auth_meta, decode_principal, encode_auth_command,
    encode_principal,
};
pub use command::{AuthChange, AuthCommand, TokenChange};
pub use judge::Judge;
pub use ranges::KeyRanges;
pub use state::{Account, AuthState};
pub use types::{AuthInfo, Permission, PermissionKind, Principal, Role, User};

/// The user that there must be, and that cannot be deleted, while authentication is on.
pub const ROOT_USER: &str = "root";
/// The role that may do everything. It need not exist to be granted.
pub const ROOT_ROLE: &str = "root";
