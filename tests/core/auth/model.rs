//! Users and roles as simply as can be: nothing is kept but what was said, and everything is looked
//! up anew.

use detcd_core::api::*;
use detcd_core::auth::{AuthCommand, Permission, PermissionKind, Principal};
use detcd_core::command::Command;
use detcd_core::error::Error;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub struct Model {
    pub enabled: bool,
    /// Changes so far.
    pub changes: u64,
    pub users: BTreeMap<String, ModelUser>,
    pub roles: BTreeMap<String, Vec<Permission>>,
    ended: u64,
}

#[derive(Debug)]
pub struct ModelUser {
    no_password: bool,
    roles: BTreeSet<String>,
    password_since: u64,
}

/// Whether the union of some ranges has every key of another one: of those, the first that it has
/// not is the start, or the first key behind one of the ranges.
pub fn covers(granted: &[KeyRange], asked: &KeyRange) -> bool {
    let has = |key: &[u8]| granted.iter().any(|range| range.contains(key));
    let (start, is_unbounded) = match asked {
        KeyRange::One(key) => return has(key),
        KeyRange::Span { start, end } => (start, end.is_none()),
    };
    let behind = granted.iter().filter_map(|range| match range {
        KeyRange::One(key) => Some([&key[..], &[0]].concat()),
        KeyRange::Span { end, .. } => end.as_ref().map(|end| end.to_vec()),
    });
    let reaches = !is_unbounded
        || granted
            .iter()
            .any(|range| matches!(range, KeyRange::Span { end: None, .. }));
    has(start)
        && reaches
        && behind
            .filter(|key| asked.contains(key))
            .all(|key| has(&key))
}

impl Model {
    pub fn revision(&self) -> u64 {
        1 + self.changes
    }

    /// What becomes of a command before it does anything to keys. `lease_keys` are those of leases.
    pub fn judge(
        &self,
        principal: &Principal,
        command: &Command,
        lease_keys: &BTreeMap<LeaseId, Vec<bytes::Bytes>>,
    ) -> Result<(), Error> {
        let asker = Asker {
            model: self,
            principal,
            lease_keys,
        };
        if !self.enabled || *principal == Principal::Member {
            return Ok(());
        }
        match command {
            Command::Put(put) => asker.put(put),
            Command::DeleteRange(delete) => asker.delete(delete),
            Command::Txn(txn) => asker.txn(txn),
            Command::LeaseGrant { .. } => asker.user(),
            Command::LeaseRevoke { id } => {
                asker.user()?;
                asker.lease(*id)
            }
            Command::Auth(AuthCommand::Authenticate { .. }) => Ok(()),
            Command::Auth(_) | Command::Compact(_) => {
                asker.user()?;
                match self.is_root(principal) {
                    true => Ok(()),
                    false => Err(Error::PermissionDenied),
                }
            }
            other => panic!("{other:?} is not generated"),
        }
    }

    fn is_root(&self, principal: &Principal) -> bool {
        let Principal::User(info) = principal else {
            return false;
        };
        let user = self.users.get(&info.user);
        user.is_some_and(|user| user.roles.contains("root"))
    }

    pub fn change(&mut self, command: &AuthCommand) -> Result<(), Error> {
        let before = self.changes;
        let done = self.run(command);
        assert!(done.is_ok() || self.changes == before);
        done
    }

    fn run(&mut self, command: &AuthCommand) -> Result<(), Error> {
        let revision = self.revision();
        let protects_root = self.enabled;
        match command {
            AuthCommand::Enable => {
                let root = self.users.get("root").ok_or(Error::RootUserNotExist)?;
                if !root.roles.contains("root") {
                    return Err(Error::RootRoleNotExist);
                }
                self.enabled = true;
            }
            AuthCommand::Disable if !self.enabled => {}
            AuthCommand::Disable => {
                self.enabled = false;
                self.changes += 1;
                self.ended = self.revision();
            }
            AuthCommand::Authenticate {
                user,
                checked_revision,
                ..
            } => {
                if !self.enabled {
                    return Err(Error::AuthNotEnabled);
                }
                let user = self.users.get(user).ok_or(Error::AuthFailed)?;
                if user.no_password {
                    return Err(Error::AuthFailed);
                }
                if *checked_revision != revision {
                    return Err(Error::AuthOldRevision);
                }
            }
            AuthCommand::UserAdd {
                name, no_password, ..
            } => {
                if self.users.contains_key(name) {
                    return Err(Error::UserExists);
                }
                self.changes += 1;
                let user = ModelUser {
                    no_password: *no_password,
                    roles: BTreeSet::new(),
                    password_since: self.revision(),
                };
                self.users.insert(name.clone(), user);
            }
            AuthCommand::UserDelete { name } => {
                if protects_root && name == "root" {
                    return Err(Error::InvalidAuthMgmt);
                }
                self.users.remove(name).ok_or(Error::UserNotFound)?;
                self.changes += 1;
            }
            AuthCommand::UserChangePassword { name, .. } => {
                self.user(name)?.password_since = revision + 1;
                self.changes += 1;
            }
            AuthCommand::UserGrantRole { user, role } => {
                let is_role = role == "root" || self.roles.contains_key(role);
                let user = self.user(user)?;
                if !is_role {
                    return Err(Error::RoleNotFound);
                }
                self.changes += u64::from(user.roles.insert(role.clone()));
            }
            AuthCommand::UserRevokeRole { user, role } => {
                if protects_root && user == "root" && role == "root" {
                    return Err(Error::InvalidAuthMgmt);
                }
                match self.user(user)?.roles.remove(role) {
                    true => self.changes += 1,
                    false => return Err(Error::RoleNotGranted),
                }
            }
            AuthCommand::RoleAdd { name } => {
                if self.roles.contains_key(name) {
                    return Err(Error::RoleExists);
                }
                self.roles.insert(name.clone(), Vec::new());
                self.changes += 1;
            }
            AuthCommand::RoleDelete { name } => {
                if protects_root && name == "root" {
                    return Err(Error::InvalidAuthMgmt);
                }
                self.roles.remove(name).ok_or(Error::RoleNotFound)?;
                for user in self.users.values_mut() {
                    user.roles.remove(name);
                }
                self.changes += 1;
            }
            AuthCommand::RoleGrantPermission { role, permission } => {
                let permission = permission.clone().ok_or(Error::PermissionNotGiven)?;
                let known = self.role(role)?;
                known.retain(|it| it.range != permission.range);
                known.push(permission);
                self.changes += 1;
            }
            AuthCommand::RoleRevokePermission { role, range } => {
                let known = self.role(role)?;
                let before = known.len();
                known.retain(|it| it.range != *range);
                if known.len() == before {
                    return Err(Error::PermissionNotGranted);
                }
                self.changes += 1;
            }
        }
        Ok(())
    }

    fn user(&mut self, name: &str) -> Result<&mut ModelUser, Error> {
        self.users.get_mut(name).ok_or(Error::UserNotFound)
    }

    fn role(&mut self, name: &str) -> Result<&mut Vec<Permission>, Error> {
        self.roles.get_mut(name).ok_or(Error::RoleNotFound)
    }

    /// What a user's roles grant.
    fn granted(&self, user: &ModelUser, without: PermissionKind) -> Vec<KeyRange> {
        let roles = user.roles.iter().filter_map(|role| self.roles.get(role));
        let permissions = roles.flatten().filter(|it| it.kind != without);
        permissions.map(|it| it.range.clone()).collect()
    }
}

struct Asker<'a> {
    model: &'a Model,
    principal: &'a Principal,
    lease_keys: &'a BTreeMap<LeaseId, Vec<bytes::Bytes>>,
}

impl Asker<'_> {
    fn keys(&self, range: &KeyRange, without: PermissionKind) -> Result<(), Error> {
        let info = match self.principal {
            Principal::User(info) if info.revision > 0 => info,
            _ => return Err(Error::UserEmpty),
        };
        let user = self.model.users.get(&info.user);
        let user = user.ok_or(Error::PermissionDenied)?;
        if info.revision < self.model.revision() {
            return Err(Error::AuthOldRevision);
        }
        let granted = self.model.granted(user, without);
        match user.roles.contains("root") || covers(&granted, range) {
            true => Ok(()),
            false => Err(Error::PermissionDenied),
        }
    }

    fn reads(&self, range: &KeyRange) -> Result<(), Error> {
        self.keys(range, PermissionKind::Write)
    }

    fn writes(&self, range: &KeyRange) -> Result<(), Error> {
        self.keys(range, PermissionKind::Read)
    }

    fn user(&self) -> Result<(), Error> {
        let info = match self.principal {
            Principal::User(info) if info.revision > 0 => info,
            _ => return Err(Error::UserEmpty),
        };
        let user = self.model.users.get(&info.user);
        let user = user.ok_or(Error::PermissionDenied)?;
        match info.revision < user.password_since.max(self.model.ended) {
            true => Err(Error::AuthOldRevision),
            false => Ok(()),
        }
    }

    /// Root may do with a lease whatever the auth revision.
    fn lease(&self, lease: LeaseId) -> Result<(), Error> {
        if self.model.is_root(self.principal) {
            return Ok(());
        }
        let mut keys = self.lease_keys.get(&lease).into_iter().flatten();
        keys.try_for_each(|key| self.writes(&KeyRange::One(key.clone())))
    }

    fn put(&self, put: &PutRequest) -> Result<(), Error> {
        let key = KeyRange::One(put.key.clone());
        self.writes(&key)?;
        self.lease(put.lease)?;
        if put.prev_kv {
            self.reads(&key)?;
        }
        Ok(())
    }

    fn delete(&self, delete: &DeleteRangeRequest) -> Result<(), Error> {
        self.writes(&delete.range)?;
        if delete.prev_kv {
            self.reads(&delete.range)?;
        }
        Ok(())
    }

    fn txn(&self, txn: &TxnRequest) -> Result<(), Error> {
        for compare in &txn.compare {
            self.reads(&compare.range)?;
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                Op::Range(range) => self.reads(&range.range)?,
                Op::Put(put) => self.put(put)?,
                Op::DeleteRange(delete) => self.delete(delete)?,
                Op::Txn(txn) => self.txn(txn)?,
            }
        }
        Ok(())
    }
}
