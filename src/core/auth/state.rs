//! Users and roles in memory, and what they amount to.

use super::codec::{AuthMeta, META_AUTH, decode_auth_meta, decode_name, decode_role, decode_user};
use super::ranges::KeyRanges;
use super::types::{Principal, Role, User};
use super::{ROOT_ROLE, ROOT_USER};
use crate::api::KeyRange;
use crate::view::{Direction, Fault, Table, View};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use core::ops::Bound;

/// A user, and what the user's roles amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub user: User,
    /// Whether the user has the role root, which may do everything.
    pub is_root: bool,
    pub reads: KeyRanges,
    pub writes: KeyRanges,
}

/// All users and roles after some entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthState {
    pub(super) meta: AuthMeta,
    pub(super) accounts: BTreeMap<String, Arc<Account>>,
    pub(super) roles: BTreeMap<String, Arc<Role>>,
}

impl Default for AuthState {
    /// No users, no roles, and everybody may do everything.
    fn default() -> AuthState {
        AuthState {
            meta: AuthMeta::default(),
            accounts: BTreeMap::new(),
            roles: BTreeMap::new(),
        }
    }
}

impl AuthState {
    /// The state that the rows of `view` hold.
    pub fn load(view: &dyn View) -> Result<AuthState, Fault> {
        let mut state = AuthState::default();
        if let Some(row) = view.get(Table::Meta, META_AUTH)? {
            state.meta = decode_auth_meta(&row)?;
        }
        let all = (Bound::Unbounded, Bound::Unbounded);
        for row in view.scan(Table::Role, all, Direction::Forward) {
            let (key, row) = row?;
            let role = Arc::new(decode_role(&row)?);
            state.roles.insert(decode_name(&key)?, role);
        }
        for row in view.scan(Table::User, all, Direction::Forward) {
            let (key, row) = row?;
            let account = Arc::new(state.account_of(decode_user(&row)?));
            state.accounts.insert(decode_name(&key)?, account);
        }
        Ok(state)
    }

    /// Whether clients have to say who they are.
    pub fn is_enabled(&self) -> bool {
        self.meta.enabled
    }

    /// How often users and roles were changed; 1 before the first time, as in etcd.
    pub fn revision(&self) -> u64 {
        self.meta.revision
    }

    pub fn account(&self, user: &str) -> Option<&Account> {
        self.accounts.get(user).map(|account| &**account)
    }

    pub fn user(&self, name: &str) -> Option<&User> {
        self.account(name).map(|account| &account.user)
    }

    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.get(name).map(|role| &**role)
    }

    /// The users' names, in order.
    pub fn users(&self) -> impl Iterator<Item = &String> {
        self.accounts.keys()
    }

    /// The roles' names, in order.
    pub fn roles(&self) -> impl Iterator<Item = &String> {
        self.roles.keys()
    }

    /// Whether a token that a user got at this auth revision still counts: the password is that of
    /// then, and authentication was not switched off since.
    pub fn keeps_token(&self, user: &str, assigned_revision: u64) -> bool {
        self.user(user).is_some_and(|user| {
            let since = user.password_revision.max(self.meta.tokens_since);
            assigned_revision >= since
        })
    }

    /// On whose behalf a member proposes what nobody asked for. Without authentication it says
    /// nothing: members of earlier versions read that.
    pub fn member_principal(&self) -> Principal {
        match self.is_enabled() {
            true => Principal::Member,
            false => Principal::Anonymous,
        }
    }

    pub(super) fn account_of(&self, user: User) -> Account {
        let roles = user.roles.iter().filter_map(|name| self.roles.get(name));
        let permissions = || roles.clone().flat_map(|role| &role.permissions);
        let reads: KeyRanges = union(permissions().filter(|it| it.kind.reads()));
        let writes = union(permissions().filter(|it| it.kind.writes()));
        let is_root = user.roles.iter().any(|role| role == ROOT_ROLE);
        Account {
            user,
            is_root,
            reads,
            writes,
        }
    }

    /// Panics if the state contradicts itself.
    pub fn check(&self) {
        for account in self.accounts.values() {
            assert!(account.user.roles.is_sorted_by(|a, b| a < b));
            assert_eq!(**account, self.account_of(account.user.clone()));
            assert!(account.user.password_revision <= self.meta.revision);
        }
        let root = self.account(ROOT_USER);
        assert!(!self.is_enabled() || root.is_some_and(|root| root.is_root));
    }
}

fn union<'a>(permissions: impl Iterator<Item = &'a super::Permission>) -> KeyRanges {
    let ranges = permissions.map(|permission| -> &KeyRange { &permission.range });
    KeyRanges::union(ranges)
}
