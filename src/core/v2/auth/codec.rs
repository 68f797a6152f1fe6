//! The bytes of users, roles and changes of them.
//!
//! ```text
//! "a"       -> 01 enabled
//! "u" name  -> 01 hash-index hash [roles]
//! "r" name  -> 01 [read] [write]
//! [names]   =  00 | 01 count names
//! ```

use super::{Asked, Asker, AuthChange, AuthWrite, KeyPaths, Role, User};
use crate::encoding::{DecodeError, Reader, Writer};
use crate::view::Fault;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

const FORMAT: u8 = 1;

pub const AUTH: u8 = b'a';
pub const USER: u8 = b'u';
pub const ROLE: u8 = b'r';

mod tag {
    pub const ENABLE: u8 = 1;
    pub const DISABLE: u8 = 2;
    pub const PUT_USER: u8 = 3;
    pub const DELETE_USER: u8 = 4;
    pub const PUT_ROLE: u8 = 5;
    pub const DELETE_ROLE: u8 = 6;
}

type Decoded<T> = Result<T, DecodeError>;

/// The key of a user's or a role's row.
pub(super) fn named(kind: u8, name: &str) -> Bytes {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(kind);
    key.extend_from_slice(name.as_bytes());
    Bytes::from(key)
}

/// The name in such a key.
pub(super) fn name(key: &Bytes) -> Result<String, Fault> {
    let name = key.get(1..).map(<[u8]>::to_vec).map(String::from_utf8);
    match name {
        Some(Ok(name)) => Ok(name),
        _ => Err(Fault(format!(
            "not the key of a v2 user or role: {key:02x?}"
        ))),
    }
}

pub(super) fn encode_enabled(enabled: bool) -> Bytes {
    Bytes::copy_from_slice(&[FORMAT, u8::from(enabled)])
}

pub(super) fn decode_enabled(row: &Bytes) -> Result<bool, Fault> {
    let mut reader = Reader::new("whether v2 judges requests", row);
    reader.version(FORMAT)?;
    let enabled = reader.flag()?;
    reader.end()?;
    Ok(enabled)
}

pub(super) fn encode_user(user: &User) -> Bytes {
    let mut out = Writer::with_capacity(96);
    out.u8(FORMAT);
    out.varint(user.hash_index);
    out.bytes(&user.hash);
    put_names(&mut out, user.roles.as_ref());
    out.finish()
}

pub(super) fn decode_user(name: &str, row: &Bytes) -> Result<User, Fault> {
    let mut reader = Reader::new("v2 user", row);
    reader.version(FORMAT)?;
    let user = User {
        name: name.into(),
        hash_index: reader.varint()?,
        hash: reader.bytes()?,
        roles: read_names(&mut reader)?,
    };
    reader.end()?;
    Ok(user)
}

pub(super) fn encode_role(role: &Role) -> Bytes {
    let mut out = Writer::with_capacity(96);
    out.u8(FORMAT);
    put_paths(&mut out, &role.paths);
    out.finish()
}

pub(super) fn decode_role(name: &str, row: &Bytes) -> Result<Role, Fault> {
    let mut reader = Reader::new("v2 role", row);
    reader.version(FORMAT)?;
    let role = Role {
        name: name.into(),
        paths: read_paths(&mut reader)?,
    };
    reader.end()?;
    Ok(role)
}

/// Whether a row that another member sent can be read.
pub fn check_row(key: &Bytes, row: &Bytes) -> Result<(), Fault> {
    match key[0] {
        AUTH if key.len() == 1 => decode_enabled(row).map(drop),
        USER => decode_user(&name(key)?, row).map(drop),
        ROLE => decode_role(&name(key)?, row).map(drop),
        _ => Err(Fault(format!("not the key of a v2 row: {key:02x?}"))),
    }
}

fn put_names(out: &mut Writer, names: Option<&Vec<String>>) {
    out.flag(names.is_some());
    if let Some(names) = names {
        out.strings(names);
    }
}

fn read_names(reader: &mut Reader<'_>) -> Decoded<Option<Vec<String>>> {
    match reader.flag()? {
        true => reader.strings().map(Some),
        false => Ok(None),
    }
}

fn put_paths(out: &mut Writer, paths: &KeyPaths) {
    put_names(out, paths.read.as_ref());
    put_names(out, paths.write.as_ref());
}

fn read_paths(reader: &mut Reader<'_>) -> Decoded<KeyPaths> {
    Ok(KeyPaths {
        read: read_names(reader)?,
        write: read_names(reader)?,
    })
}

fn put_asker(out: &mut Writer, asker: &Asker) {
    match asker {
        Asker::Guest => out.flag(false),
        Asker::User { name, hash_index } => {
            out.flag(true);
            out.bytes(name.as_bytes());
            out.varint(*hash_index);
        }
    }
}

fn read_asker(reader: &mut Reader<'_>) -> Decoded<Asker> {
    Ok(match reader.flag()? {
        false => Asker::Guest,
        true => Asker::User {
            name: reader.string()?,
            hash_index: reader.varint()?,
        },
    })
}

/// Who asks for a write, within a command.
pub fn encode_asked(out: &mut Writer, asked: &Asked) {
    put_asker(out, &asked.asker);
    out.bytes(&asked.path);
}

pub fn decode_asked(reader: &mut Reader<'_>) -> Decoded<Asked> {
    Ok(Asked {
        asker: read_asker(reader)?,
        path: reader.bytes()?,
    })
}

/// A change within a command.
pub fn encode_auth_write(out: &mut Writer, write: &AuthWrite) {
    put_asker(out, &write.asker);
    match &write.change {
        AuthChange::Enable => out.u8(tag::ENABLE),
        AuthChange::Disable => out.u8(tag::DISABLE),
        AuthChange::PutUser {
            name,
            hash,
            roles,
            grant,
            revoke,
        } => {
            out.u8(tag::PUT_USER);
            out.bytes(name.as_bytes());
            out.flag(hash.is_some());
            if let Some(hash) = hash {
                out.bytes(hash);
            }
            put_names(out, roles.as_ref());
            out.strings(grant);
            out.strings(revoke);
        }
        AuthChange::DeleteUser { name } => {
            out.u8(tag::DELETE_USER);
            out.bytes(name.as_bytes());
        }
        AuthChange::PutRole {
            name,
            paths,
            grant,
            revoke,
        } => {
            out.u8(tag::PUT_ROLE);
            out.bytes(name.as_bytes());
            put_paths(out, paths);
            for paths in [grant, revoke] {
                out.flag(paths.is_some());
                if let Some(paths) = paths {
                    put_paths(out, paths);
                }
            }
        }
        AuthChange::DeleteRole { name } => {
            out.u8(tag::DELETE_ROLE);
            out.bytes(name.as_bytes());
        }
    }
}

pub fn decode_auth_write(reader: &mut Reader<'_>) -> Result<AuthWrite, Fault> {
    let asker = read_asker(reader)?;
    let change = match reader.u8()? {
        tag::ENABLE => AuthChange::Enable,
        tag::DISABLE => AuthChange::Disable,
        tag::PUT_USER => AuthChange::PutUser {
            name: reader.string()?,
            hash: match reader.flag()? {
                true => Some(reader.bytes()?),
                false => None,
            },
            roles: read_names(reader)?,
            grant: reader.strings()?,
            revoke: reader.strings()?,
        },
        tag::DELETE_USER => AuthChange::DeleteUser {
            name: reader.string()?,
        },
        tag::PUT_ROLE => AuthChange::PutRole {
            name: reader.string()?,
            paths: read_paths(reader)?,
            grant: optional_paths(reader)?,
            revoke: optional_paths(reader)?,
        },
        tag::DELETE_ROLE => AuthChange::DeleteRole {
            name: reader.string()?,
        },
        _ => return Err(reader.error("unknown change of v2's users").into()),
    };
    Ok(AuthWrite { asker, change })
}

fn optional_paths(reader: &mut Reader<'_>) -> Decoded<Option<KeyPaths>> {
    match reader.flag()? {
        true => read_paths(reader).map(Some),
        false => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn row_bytes_are_pinned() {
        let user = User {
            name: "ann".into(),
            hash: Bytes::from_static(b"h"),
            hash_index: 300,
            roles: Some(["a".into(), "b".into()].into()),
        };
        let row = encode_user(&user);
        assert_eq!(hex(&row), "01ac020168010201610162");
        assert_eq!(decode_user("ann", &row), Ok(user));
        let role = Role {
            name: "r".into(),
            paths: KeyPaths {
                read: Some(["/*".into()].into()),
                write: None,
            },
        };
        let row = encode_role(&role);
        assert_eq!(hex(&row), "010101022f2a00");
        assert_eq!(decode_role("r", &row), Ok(role));
        assert_eq!(hex(&named(USER, "ann")), "75616e6e");
        assert_eq!(hex(&encode_enabled(true)), "0101");
    }

    #[test]
    fn rows_are_told_from_garbage() {
        let garbage = Bytes::from_static(b"\xff garbage");
        for key in [&b"a"[..], b"aa", b"uann", b"rr", b"u\xff"] {
            let key = Bytes::copy_from_slice(key);
            assert!(check_row(&key, &garbage).is_err());
        }
        let key = Bytes::from_static(b"a");
        assert_eq!(check_row(&key, &encode_enabled(false)), Ok(()));
    }
}
