//! The bytes of users, roles and their changes.
//!
//! ```text
//! User   name    -> 01 password no-password password-revision count role...
//! Role   name    -> 01 count (kind range)...
//! Meta   "auth"  -> 01 enabled revision tokens-since
//! ```

use super::command::AuthCommand;
use super::types::{AuthInfo, Permission, PermissionKind, Principal, Role, User};
use crate::codec::{decode_key_range, encode_key_range};
use crate::encoding::{Reader, Writer};
use crate::view::Fault;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// The version of the rows' format.
const ROW_FORMAT: u8 = 1;

/// The key in `Meta` of the row that says whether authentication is on, and since when.
pub const META_AUTH: &[u8] = b"auth";

/// What there is once, whoever the users are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthMeta {
    pub enabled: bool,
    pub revision: u64,
    /// Tokens that were given at an earlier auth revision are worth nothing.
    pub tokens_since: u64,
}

impl Default for AuthMeta {
    /// Before the first change. etcd begins to count at one.
    fn default() -> AuthMeta {
        AuthMeta {
            enabled: false,
            revision: 1,
            tokens_since: 0,
        }
    }
}

mod tag {
    pub const ENABLE: u8 = 1;
    pub const DISABLE: u8 = 2;
    pub const AUTHENTICATE: u8 = 3;
    pub const USER_ADD: u8 = 4;
    pub const USER_DELETE: u8 = 5;
    pub const USER_CHANGE_PASSWORD: u8 = 6;
    pub const USER_GRANT_ROLE: u8 = 7;
    pub const USER_REVOKE_ROLE: u8 = 8;
    pub const ROLE_ADD: u8 = 9;
    pub const ROLE_DELETE: u8 = 10;
    pub const ROLE_GRANT: u8 = 11;
    pub const ROLE_REVOKE: u8 = 12;
}

pub fn encode_auth_meta(meta: &AuthMeta) -> Bytes {
    let mut out = Writer::default();
    out.u8(ROW_FORMAT);
    out.flag(meta.enabled);
    out.varint(meta.revision);
    out.varint(meta.tokens_since);
    out.finish()
}

pub fn decode_auth_meta(row: &Bytes) -> Result<AuthMeta, Fault> {
    let mut reader = Reader::new("row of authentication", row);
    reader.version(ROW_FORMAT)?;
    let meta = AuthMeta {
        enabled: reader.flag()?,
        revision: reader.varint()?,
        tokens_since: reader.varint()?,
    };
    reader.end()?;
    Ok(meta)
}

pub(crate) fn encode_user(user: &User) -> Bytes {
    let mut out = Writer::default();
    out.u8(ROW_FORMAT);
    out.bytes(&user.password);
    out.flag(user.no_password);
    out.varint(user.password_revision);
    out.strings(&user.roles);
    out.finish()
}

pub(super) fn decode_user(row: &Bytes) -> Result<User, Fault> {
    let mut reader = Reader::new("user", row);
    reader.version(ROW_FORMAT)?;
    let user = User {
        password: reader.bytes()?,
        no_password: reader.flag()?,
        password_revision: reader.varint()?,
        roles: reader.strings()?,
    };
    reader.end()?;
    Ok(user)
}

pub(crate) fn encode_role(role: &Role) -> Bytes {
    let mut out = Writer::default();
    out.u8(ROW_FORMAT);
    out.count(role.permissions.len());
    for permission in &role.permissions {
        encode_permission(&mut out, permission);
    }
    out.finish()
}

pub(super) fn decode_role(row: &Bytes) -> Result<Role, Fault> {
    let mut reader = Reader::new("role", row);
    reader.version(ROW_FORMAT)?;
    let permissions = (0..reader.count()?)
        .map(|_| decode_permission(&mut reader))
        .collect::<Result<Vec<_>, Fault>>()?;
    reader.end()?;
    Ok(Role { permissions })
}

/// The name under which a user or role is stored.
pub(super) fn decode_name(key: &Bytes) -> Result<String, Fault> {
    let name = core::str::from_utf8(key);
    let name = name.map_err(|_| Fault(format!("not a name of a user or role: {key:?}")))?;
    Ok(name.into())
}

pub(crate) fn check_user_row(key: &Bytes, row: &Bytes) -> Result<(), Fault> {
    decode_name(key)?;
    decode_user(row).map(drop)
}

pub(crate) fn check_role_row(key: &Bytes, row: &Bytes) -> Result<(), Fault> {
    decode_name(key)?;
    decode_role(row).map(drop)
}

/// On whose behalf a command is: anonymous ones have no bytes of their own.
pub fn encode_principal(out: &mut Writer, principal: &Principal) {
    match principal {
        Principal::Anonymous => out.u8(0),
        Principal::Member => out.u8(1),
        Principal::User(info) => {
            out.u8(2);
            out.varint(info.revision);
            out.bytes(info.user.as_bytes());
        }
    }
}

pub fn decode_principal(reader: &mut Reader<'_>) -> Result<Principal, Fault> {
    Ok(match reader.u8()? {
        0 => Principal::Anonymous,
        1 => Principal::Member,
        2 => {
            let revision = reader.varint()?;
            let user = reader.string()?;
            Principal::User(AuthInfo { user, revision })
        }
        _ => return Err(reader.error("unknown principal").into()),
    })
}

pub fn encode_auth_command(out: &mut Writer, command: &AuthCommand) {
    let mut texts = |tag: u8, texts: &[&String]| {
        out.u8(tag);
        for text in texts {
            out.bytes(text.as_bytes());
        }
    };
    match command {
        AuthCommand::Enable => texts(tag::ENABLE, &[]),
        AuthCommand::Disable => texts(tag::DISABLE, &[]),
        AuthCommand::Authenticate {
            user,
            token_prefix,
            checked_revision,
        } => {
            texts(tag::AUTHENTICATE, &[user, token_prefix]);
            out.varint(*checked_revision);
        }
        AuthCommand::UserAdd {
            name,
            password,
            no_password,
        } => {
            texts(tag::USER_ADD, &[name]);
            out.bytes(password);
            out.flag(*no_password);
        }
        AuthCommand::UserDelete { name } => texts(tag::USER_DELETE, &[name]),
        AuthCommand::UserChangePassword { name, password } => {
            texts(tag::USER_CHANGE_PASSWORD, &[name]);
            out.bytes(password);
        }
        AuthCommand::UserGrantRole { user, role } => texts(tag::USER_GRANT_ROLE, &[user, role]),
        AuthCommand::UserRevokeRole { user, role } => texts(tag::USER_REVOKE_ROLE, &[user, role]),
        AuthCommand::RoleAdd { name } => texts(tag::ROLE_ADD, &[name]),
        AuthCommand::RoleDelete { name } => texts(tag::ROLE_DELETE, &[name]),
        AuthCommand::RoleGrantPermission { role, permission } => {
            texts(tag::ROLE_GRANT, &[role]);
            out.flag(permission.is_some());
            if let Some(permission) = permission {
                encode_permission(out, permission);
            }
        }
        AuthCommand::RoleRevokePermission { role, range } => {
            texts(tag::ROLE_REVOKE, &[role]);
            encode_key_range(out, range);
        }
    }
}

pub fn decode_auth_command(reader: &mut Reader<'_>) -> Result<AuthCommand, Fault> {
    Ok(match reader.u8()? {
        tag::ENABLE => AuthCommand::Enable,
        tag::DISABLE => AuthCommand::Disable,
        tag::AUTHENTICATE => AuthCommand::Authenticate {
            user: reader.string()?,
            token_prefix: reader.string()?,
            checked_revision: reader.varint()?,
        },
        tag::USER_ADD => AuthCommand::UserAdd {
            name: reader.string()?,
            password: reader.bytes()?,
            no_password: reader.flag()?,
        },
        tag::USER_DELETE => AuthCommand::UserDelete {
            name: reader.string()?,
        },
        tag::USER_CHANGE_PASSWORD => AuthCommand::UserChangePassword {
            name: reader.string()?,
            password: reader.bytes()?,
        },
        tag::USER_GRANT_ROLE => AuthCommand::UserGrantRole {
            user: reader.string()?,
            role: reader.string()?,
        },
        tag::USER_REVOKE_ROLE => AuthCommand::UserRevokeRole {
            user: reader.string()?,
            role: reader.string()?,
        },
        tag::ROLE_ADD => AuthCommand::RoleAdd {
            name: reader.string()?,
        },
        tag::ROLE_DELETE => AuthCommand::RoleDelete {
            name: reader.string()?,
        },
        tag::ROLE_GRANT => AuthCommand::RoleGrantPermission {
            role: reader.string()?,
            permission: match reader.flag()? {
                true => Some(decode_permission(reader)?),
                false => None,
            },
        },
        tag::ROLE_REVOKE => AuthCommand::RoleRevokePermission {
            role: reader.string()?,
            range: decode_key_range(reader)?,
        },
        _ => return Err(reader.error("unknown change of users and roles").into()),
    })
}

fn encode_permission(out: &mut Writer, permission: &Permission) {
    out.u8(permission.kind as u8);
    encode_key_range(out, &permission.range);
}

fn decode_permission(reader: &mut Reader<'_>) -> Result<Permission, Fault> {
    let kind = match reader.u8()? {
        1 => PermissionKind::Read,
        2 => PermissionKind::Write,
        3 => PermissionKind::ReadWrite,
        _ => return Err(reader.error("unknown kind of permission").into()),
    };
    let range = decode_key_range(reader)?;
    Ok(Permission { kind, range })
}
