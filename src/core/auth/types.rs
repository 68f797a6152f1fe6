//! What users and roles are, and who asks.

use crate::api::KeyRange;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// A user who has shown who it is, and the auth revision that this is true of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthInfo {
    pub user: String,
    pub revision: u64,
}

/// On whose behalf something is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A member of the cluster itself: what it proposes nobody asked for.
    Member,
    /// A client that has not said who it is. Without authentication it may do everything.
    Anonymous,
    User(AuthInfo),
}

/// What a role allows with keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum PermissionKind {
    Read = 1,
    Write = 2,
    ReadWrite = 3,
}

impl PermissionKind {
    pub fn reads(self) -> bool {
        self != PermissionKind::Write
    }

    pub fn writes(self) -> bool {
        self != PermissionKind::Read
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    pub kind: PermissionKind,
    pub range: KeyRange,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The hash of the password; empty for a user without one.
    pub password: Bytes,
    /// A user who cannot authenticate by a password, but by a certificate.
    pub no_password: bool,
    /// The auth revision that set the password: tokens from before it are worth nothing.
    pub password_revision: u64,
    /// In order.
    pub roles: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// By the start of their ranges; each range once.
    pub permissions: Vec<Permission>,
}
