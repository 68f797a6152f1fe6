//! What a committed change of users and roles does to the rows.

use super::codec::{AUTH, ROLE, USER, encode_enabled, encode_role, encode_user, named};
use super::rows::exists;
use super::{
    AuthChange, AuthRefused, AuthReply, AuthWrite, GUEST, KeyPaths, ROOT, Role, User, is_enabled,
    may_change, role, user,
};
use crate::overlay::Overlay;
use crate::v2::apply::move_index;
use crate::v2::tree::{begun, index};
use crate::v2::types::Dialect;
use crate::view::{Fault, Table};
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// The places that etcd makes in its store with the first change: each moves the index.
const PLACES: u64 = 4;

/// Why a change came to nothing.
enum Failure {
    Refused(AuthRefused),
    Fault(Fault),
}

impl From<AuthRefused> for Failure {
    fn from(refused: AuthRefused) -> Failure {
        Failure::Refused(refused)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Fault(fault)
    }
}

type Done = Result<AuthReply, Failure>;

/// Applies a change.
pub(crate) fn apply(
    write: &AuthWrite,
    overlay: &mut Overlay<'_>,
) -> Result<Result<AuthReply, AuthRefused>, Fault> {
    if !may_change(overlay, &write.asker)? {
        return Ok(Err(AuthRefused::InsufficientCredentials));
    }
    let mut rows = Rows(overlay);
    let done = match &write.change {
        AuthChange::Enable => rows.enable(),
        AuthChange::Disable => rows.disable(),
        AuthChange::PutUser { .. } => rows.put_user(&write.change),
        AuthChange::DeleteUser { name } => rows.delete_user(name),
        AuthChange::PutRole { .. } => rows.put_role(&write.change),
        AuthChange::DeleteRole { name } => rows.delete_role(name),
    };
    match done {
        Ok(reply) => Ok(Ok(reply)),
        Err(Failure::Refused(refused)) => Ok(Err(refused)),
        Err(Failure::Fault(fault)) => Err(fault),
    }
}

struct Rows<'c, 'o>(&'c mut Overlay<'o>);

impl Rows<'_, '_> {
    fn enable(&mut self) -> Done {
        if is_enabled(self.0)? {
            return Err(AuthRefused::AlreadyEnabled.into());
        }
        if user(self.0, ROOT)?.is_none() {
            return Err(AuthRefused::NoRootUser.into());
        }
        if role(self.0, GUEST)?.is_none() {
            let guest = Role::unlimited(GUEST);
            self.write(named(ROLE, GUEST), Some(encode_role(&guest)))?;
        }
        self.write(switch(), Some(encode_enabled(true)))?;
        Ok(AuthReply::Done)
    }

    fn disable(&mut self) -> Done {
        if !is_enabled(self.0)? {
            return Err(AuthRefused::AlreadyDisabled.into());
        }
        self.write(switch(), Some(encode_enabled(false)))?;
        Ok(AuthReply::Done)
    }

    fn put_user(&mut self, change: &AuthChange) -> Done {
        let AuthChange::PutUser {
            name,
            hash,
            roles,
            grant,
            revoke,
        } = change
        else {
            unreachable!("another change");
        };
        let is_update = !grant.is_empty() || !revoke.is_empty();
        let gives_roles = roles.as_ref().is_some_and(|roles| !roles.is_empty());
        let before = user(self.0, name)?;
        match before {
            Some(before) if is_update || !gives_roles => {
                self.update_user(before, hash.as_ref(), grant, revoke)
            }
            None if is_update => Err(AuthRefused::UserNotFound(name.clone()).into()),
            before => self.create_user(name, hash.as_ref(), roles.clone(), before.is_some()),
        }
    }

    fn create_user(
        &mut self,
        name: &str,
        hash: Option<&Bytes>,
        mut roles: Option<Vec<String>>,
        exists: bool,
    ) -> Done {
        let Some(hash) = hash else {
            return Err(AuthRefused::EmptyPassword(name.into()).into());
        };
        if name == ROOT && !roles.iter().flatten().any(|role| role == ROOT) {
            roles.get_or_insert_default().push(ROOT.into());
        }
        self.make_places()?;
        if exists {
            return Err(AuthRefused::UserExists(name.into()).into());
        }
        let user = User {
            name: name.into(),
            hash: hash.clone(),
            hash_index: index(self.0)? + 1,
            roles,
        };
        self.write(named(USER, name), Some(encode_user(&user)))?;
        let is_created = true;
        Ok(AuthReply::User { user, is_created })
    }

    fn update_user(
        &mut self,
        before: User,
        hash: Option<&Bytes>,
        grant: &[String],
        revoke: &[String],
    ) -> Done {
        let name = &before.name;
        let mut roles: BTreeSet<String> = before.role_names().map(String::from).collect();
        for role in grant {
            if !roles.insert(role.clone()) {
                let (role, user) = (role.clone(), name.clone());
                return Err(AuthRefused::RoleGranted { role, user }.into());
            }
        }
        for role in revoke {
            if !roles.remove(role) {
                let (role, user) = (role.clone(), name.clone());
                return Err(AuthRefused::RoleNotGranted { role, user }.into());
            }
        }
        let roles = Some(roles.into_iter().collect());
        if hash.is_none() && roles == before.roles {
            return Err(AuthRefused::UserNotUpdated.into());
        }
        self.make_places()?;
        let user = User {
            hash: hash.unwrap_or(&before.hash).clone(),
            hash_index: match hash {
                Some(_) => index(self.0)? + 1,
                None => before.hash_index,
            },
            roles,
            ..before
        };
        self.write(named(USER, &user.name), Some(encode_user(&user)))?;
        let is_created = false;
        Ok(AuthReply::User { user, is_created })
    }

    fn delete_user(&mut self, name: &str) -> Done {
        if name == ROOT && is_enabled(self.0)? {
            return Err(AuthRefused::RootUserNeeded.into());
        }
        self.make_places()?;
        if !exists(self.0, &named(USER, name))? {
            return Err(AuthRefused::DeletedUserNotFound(name.into()).into());
        }
        self.write(named(USER, name), None)?;
        Ok(AuthReply::Done)
    }

    fn put_role(&mut self, change: &AuthChange) -> Done {
        let AuthChange::PutRole {
            name,
            paths,
            grant,
            revoke,
        } = change
        else {
            unreachable!("another change");
        };
        if name == ROOT {
            return Err(AuthRefused::RootRole(name.clone()).into());
        }
        let is_empty = |paths: &Option<KeyPaths>| paths.as_ref().is_none_or(KeyPaths::is_empty);
        if !is_empty(grant) || !is_empty(revoke) {
            return self.update_role(name, grant.as_ref(), revoke.as_ref());
        }
        self.make_places()?;
        if exists(self.0, &named(ROLE, name))? {
            return Err(AuthRefused::RoleExists(name.clone()).into());
        }
        let role = Role {
            name: name.clone(),
            paths: paths.clone(),
        };
        self.write(named(ROLE, name), Some(encode_role(&role)))?;
        let is_created = true;
        Ok(AuthReply::Role { role, is_created })
    }

    fn update_role(
        &mut self,
        name: &str,
        grant: Option<&KeyPaths>,
        revoke: Option<&KeyPaths>,
    ) -> Done {
        let Some(before) = role(self.0, name)? else {
            return Err(AuthRefused::RoleNotFound(name.into()).into());
        };
        let mut paths = before.paths.clone();
        if let Some(grant) = grant {
            paths = KeyPaths {
                read: granted(&paths.read, &grant.read, AuthRefused::ReadGranted)?,
                write: granted(&paths.write, &grant.write, AuthRefused::WriteGranted)?,
            };
        }
        if let Some(revoke) = revoke {
            paths = KeyPaths {
                read: revoked(&paths.read, &revoke.read),
                write: revoked(&paths.write, &revoke.write),
            };
        }
        if paths == before.paths {
            return Err(AuthRefused::RoleNotUpdated.into());
        }
        let role = Role { paths, ..before };
        self.write(named(ROLE, name), Some(encode_role(&role)))?;
        let is_created = false;
        Ok(AuthReply::Role { role, is_created })
    }

    fn delete_role(&mut self, name: &str) -> Done {
        if name == ROOT {
            return Err(AuthRefused::RootRole(name.into()).into());
        }
        self.make_places()?;
        if !exists(self.0, &named(ROLE, name))? {
            return Err(AuthRefused::DeletedRoleNotFound(name.into()).into());
        }
        self.write(named(ROLE, name), None)?;
        Ok(AuthReply::Done)
    }

    /// Writes or removes a row, which moves the index.
    fn write(&mut self, key: Bytes, row: Option<Bytes>) -> Result<(), Fault> {
        self.make_places()?;
        match row {
            Some(row) => self.0.put(Table::V2, key, row),
            None => self.0.delete(Table::V2, key),
        }
        self.count(1)
    }

    /// The switch is there from the first change on.
    fn make_places(&mut self) -> Result<(), Fault> {
        if exists(self.0, &switch())? {
            return Ok(());
        }
        self.0.put(Table::V2, switch(), encode_enabled(false));
        self.count(PLACES)
    }

    fn count(&mut self, changes: u64) -> Result<(), Fault> {
        let before = index(self.0)?;
        let dialect = begun(self.0)?.map_or(Dialect::Etcd34, |(_, dialect)| dialect);
        move_index(self.0, before, before + changes, dialect);
        Ok(())
    }
}

fn switch() -> Bytes {
    Bytes::from_static(&[AUTH])
}

type Paths = Option<Vec<String>>;

fn granted(
    before: &Paths,
    more: &Paths,
    refused: impl Fn(String) -> AuthRefused,
) -> Result<Paths, AuthRefused> {
    let mut paths: BTreeSet<&String> = before.iter().flatten().collect();
    for path in more.iter().flatten() {
        if !paths.insert(path) {
            return Err(refused(path.clone()));
        }
    }
    Ok(Some(paths.into_iter().cloned().collect()))
}

/// What was never granted is passed over.
fn revoked(before: &Paths, less: &Paths) -> Paths {
    let mut paths: BTreeSet<&String> = before.iter().flatten().collect();
    for path in less.iter().flatten() {
        paths.remove(path);
    }
    Some(paths.into_iter().cloned().collect())
}
