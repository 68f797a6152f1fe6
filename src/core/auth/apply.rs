//! What a change of users and roles does. Each answers as etcd does, in the order of its checks.

use super::codec::{META_AUTH, encode_auth_meta, encode_role, encode_user};
use super::command::{AuthCommand, TokenChange};
use super::state::AuthState;
use super::types::{Permission, Role, User};
use super::{ROOT_ROLE, ROOT_USER};
use crate::api::{KeyRange, Reply};
use crate::error::Error;
use crate::overlay::Overlay;
use crate::view::Table;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// What a change answers, and what becomes of tokens.
type Answered = Result<(Reply, Option<TokenChange>), Error>;

/// Applies a change that its principal may make, as the entry at `index`. What is refused changes
/// nothing.
pub(crate) fn apply(
    state: &mut Arc<AuthState>,
    command: AuthCommand,
    index: u64,
    overlay: &mut Overlay<'_>,
) -> Answered {
    let mut change = AuthStateChange { state, overlay };
    match command {
        AuthCommand::Enable => change.enable(),
        AuthCommand::Disable => Ok(change.disable()),
        AuthCommand::Authenticate {
            user,
            token_prefix,
            checked_revision,
        } => change.authenticate(user, &token_prefix, checked_revision, index),
        AuthCommand::UserAdd {
            name,
            password,
            no_password,
        } => change.user_add(&name, password, no_password),
        AuthCommand::UserDelete { name } => change.user_delete(name),
        AuthCommand::UserChangePassword { name, password } => {
            change.user_change_password(name, password)
        }
        AuthCommand::UserGrantRole { user, role } => change.user_grant_role(&user, role),
        AuthCommand::UserRevokeRole { user, role } => change.user_revoke_role(&user, &role),
        AuthCommand::RoleAdd { name } => change.role_add(&name),
        AuthCommand::RoleDelete { name } => change.role_delete(&name),
        AuthCommand::RoleGrantPermission { role, permission } => {
            change.role_grant(&role, permission)
        }
        AuthCommand::RoleRevokePermission { role, range } => change.role_revoke(&role, &range),
    }
}

const DONE: Answered = Ok((Reply::Done, None));

/// A change under way: the state in memory, and the rows.
struct AuthStateChange<'a, 'v> {
    state: &'a mut Arc<AuthState>,
    overlay: &'a mut Overlay<'v>,
}

impl AuthStateChange<'_, '_> {
    fn enable(&mut self) -> Answered {
        if self.state.is_enabled() {
            return DONE;
        }
        let root = self.state.account(ROOT_USER);
        match root {
            None => return Err(Error::RootUserNotExist),
            Some(root) if !root.is_root => return Err(Error::RootRoleNotExist),
            Some(_) => {}
        }
        self.state().meta.enabled = true;
        self.put_meta();
        DONE
    }

    fn disable(&mut self) -> (Reply, Option<TokenChange>) {
        if !self.state.is_enabled() {
            return (Reply::Done, None);
        }
        let revision = self.next_revision();
        let state = self.state();
        state.meta.enabled = false;
        state.meta.tokens_since = revision;
        self.put_meta();
        (Reply::Done, Some(TokenChange::AllEnded))
    }

    fn authenticate(
        &mut self,
        user: String,
        token_prefix: &str,
        checked_revision: u64,
        index: u64,
    ) -> Answered {
        if !self.state.is_enabled() {
            return Err(Error::AuthNotEnabled);
        }
        let known = self.state.user(&user);
        if known.is_none_or(|known| known.no_password) {
            return Err(Error::AuthFailed);
        }
        // The password may be another one by now.
        let revision = self.state.revision();
        if checked_revision != revision {
            return Err(Error::AuthOldRevision);
        }
        if token_prefix.is_empty() {
            let token = String::new();
            return Ok((Reply::Authenticated { token, revision }, None));
        }
        let token = format!("{token_prefix}.{index}");
        let assigned = TokenChange::Assigned {
            user,
            token: token.clone(),
            revision,
        };
        Ok((Reply::Authenticated { token, revision }, Some(assigned)))
    }

    fn user_add(&mut self, name: &str, password: Bytes, no_password: bool) -> Answered {
        if name.is_empty() {
            return Err(Error::UserEmpty);
        }
        if self.state.user(name).is_some() {
            return Err(Error::UserExists);
        }
        let user = User {
            password,
            no_password,
            password_revision: self.next_revision(),
            roles: Vec::new(),
        };
        self.put_user(name, user);
        DONE
    }

    fn user_delete(&mut self, name: String) -> Answered {
        if self.state.is_enabled() && name == ROOT_USER {
            return Err(Error::InvalidAuthMgmt);
        }
        if self.state.user(&name).is_none() {
            return Err(Error::UserNotFound);
        }
        self.next_revision();
        self.state().accounts.remove(&name);
        self.overlay.delete(Table::User, row_key(&name));
        Ok((Reply::Done, Some(TokenChange::Ended { user: name })))
    }

    fn user_change_password(&mut self, name: String, password: Bytes) -> Answered {
        let mut user = self.user(&name)?;
        if !user.no_password {
            user.password = password;
        }
        user.password_revision = self.next_revision();
        self.put_user(&name, user);
        Ok((Reply::Done, Some(TokenChange::Ended { user: name })))
    }

    fn user_grant_role(&mut self, name: &str, role: String) -> Answered {
        let mut user = self.user(name)?;
        if role != ROOT_ROLE && self.state.role(&role).is_none() {
            return Err(Error::RoleNotFound);
        }
        if let Err(at) = user.roles.binary_search(&role) {
            user.roles.insert(at, role);
            self.next_revision();
            self.put_user(name, user);
        }
        DONE
    }

    fn user_revoke_role(&mut self, name: &str, role: &str) -> Answered {
        if self.state.is_enabled() && name == ROOT_USER && role == ROOT_ROLE {
            return Err(Error::InvalidAuthMgmt);
        }
        let mut user = self.user(name)?;
        let granted = user.roles.len();
        user.roles.retain(|it| it != role);
        if user.roles.len() == granted {
            return Err(Error::RoleNotGranted);
        }
        self.next_revision();
        self.put_user(name, user);
        DONE
    }

    fn role_add(&mut self, name: &str) -> Answered {
        if name.is_empty() {
            return Err(Error::RoleEmpty);
        }
        if self.state.role(name).is_some() {
            return Err(Error::RoleExists);
        }
        self.next_revision();
        self.put_role(name, Role::default());
        DONE
    }

    fn role_delete(&mut self, name: &str) -> Answered {
        if self.state.is_enabled() && name == ROOT_ROLE {
            return Err(Error::InvalidAuthMgmt);
        }
        if self.state.role(name).is_none() {
            return Err(Error::RoleNotFound);
        }
        self.next_revision();
        self.state().roles.remove(name);
        self.overlay.delete(Table::Role, row_key(name));
        for (user_name, mut user) in self.users_with(name) {
            user.roles.retain(|it| it != name);
            self.put_user(&user_name, user);
        }
        DONE
    }

    fn role_grant(&mut self, name: &str, permission: Option<Permission>) -> Answered {
        let permission = permission.ok_or(Error::PermissionNotGiven)?;
        let mut role = self.role(name)?;
        let known = &mut role.permissions;
        match known.iter_mut().find(|it| it.range == permission.range) {
            Some(known) => known.kind = permission.kind,
            None => {
                let start = start(&permission.range);
                let at = known.partition_point(|it| self::start(&it.range) <= start);
                known.insert(at, permission);
            }
        }
        self.change_role(name, role);
        DONE
    }

    fn role_revoke(&mut self, name: &str, range: &KeyRange) -> Answered {
        let mut role = self.role(name)?;
        let granted = role.permissions.len();
        role.permissions.retain(|it| it.range != *range);
        if role.permissions.len() == granted {
            return Err(Error::PermissionNotGranted);
        }
        self.change_role(name, role);
        DONE
    }

    fn change_role(&mut self, name: &str, role: Role) {
        self.next_revision();
        self.put_role(name, role);
        // Their rows are as they were: only what they amount to is another.
        for (user_name, user) in self.users_with(name) {
            self.keep_account(&user_name, user);
        }
    }

    fn user(&self, name: &str) -> Result<User, Error> {
        self.state.user(name).cloned().ok_or(Error::UserNotFound)
    }

    fn role(&self, name: &str) -> Result<Role, Error> {
        self.state.role(name).cloned().ok_or(Error::RoleNotFound)
    }

    fn users_with(&self, role: &str) -> Vec<(String, User)> {
        let accounts = self.state.accounts.iter();
        let has = |user: &User| user.roles.iter().any(|it| it == role);
        accounts
            .filter(|(_, account)| has(&account.user))
            .map(|(name, account)| (name.clone(), account.user.clone()))
            .collect()
    }

    fn put_user(&mut self, name: &str, user: User) {
        let row = encode_user(&user);
        self.overlay.put(Table::User, row_key(name), row);
        self.keep_account(name, user);
    }

    fn keep_account(&mut self, name: &str, user: User) {
        let account = Arc::new(self.state.account_of(user));
        self.state().accounts.insert(name.into(), account);
    }

    fn put_role(&mut self, name: &str, role: Role) {
        let row = encode_role(&role);
        self.overlay.put(Table::Role, row_key(name), row);
        self.state().roles.insert(name.into(), Arc::new(role));
    }

    fn next_revision(&mut self) -> u64 {
        let state = self.state();
        state.meta.revision += 1;
        let revision = state.meta.revision;
        self.put_meta();
        revision
    }

    fn put_meta(&mut self) {
        let row = encode_auth_meta(&self.state.meta);
        self.overlay
            .put(Table::Meta, Bytes::from_static(META_AUTH), row);
    }

    /// A view that was published keeps the state that it has.
    fn state(&mut self) -> &mut AuthState {
        Arc::make_mut(self.state)
    }
}

fn row_key(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

fn start(range: &KeyRange) -> &Bytes {
    match range {
        KeyRange::One(key) | KeyRange::Span { start: key, .. } => key,
    }
}
