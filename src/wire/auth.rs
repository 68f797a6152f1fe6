//! Permissions.

use crate::authpb as pb;
use detcd_core::api::KeyRange;
use detcd_core::auth::{Permission, PermissionKind};
use detcd_core::error::Error;

impl TryFrom<pb::Permission> for Permission {
    type Error = Error;

    fn try_from(permission: pb::Permission) -> Result<Self, Error> {
        let kind = match permission.perm_type() {
            _ if !known(permission.perm_type) => return Err(Error::InvalidAuthMgmt),
            pb::permission::Type::Read => PermissionKind::Read,
            pb::permission::Type::Write => PermissionKind::Write,
            pb::permission::Type::Readwrite => PermissionKind::ReadWrite,
        };
        let range = KeyRange::of(permission.key, permission.range_end);
        Ok(Permission { kind, range })
    }
}

impl From<Permission> for pb::Permission {
    fn from(permission: Permission) -> Self {
        let kind = match permission.kind {
            PermissionKind::Read => pb::permission::Type::Read,
            PermissionKind::Write => pb::permission::Type::Write,
            PermissionKind::ReadWrite => pb::permission::Type::Readwrite,
        };
        let (key, range_end) = crate::kv::key_and_end(permission.range);
        pb::Permission {
            perm_type: kind.into(),
            key,
            range_end,
        }
    }
}

fn known(kind: i32) -> bool {
    pb::permission::Type::try_from(kind).is_ok()
}
