//! Who may do what: the one place that decides.

use super::command::AuthCommand;
use super::state::{Account, AuthState};
use super::types::{AuthInfo, Principal};
use crate::api::{DeleteRangeRequest, KeyRange, LeaseId, Op, PutRequest, RangeRequest, TxnRequest};
use crate::command::Command;
use crate::error::Error;
use crate::kv::write::lease_key_rows;
use crate::query::QueryError;
use crate::view::View;

/// What one principal may do, by the users and roles of one state.
///
/// The checks of keys refuse a principal that is known by an older auth revision: whoever
/// authenticated then has to again, as in etcd. The other checks take it, unless its password was
/// changed since: an administrator changes the auth revision with every step.
#[derive(Clone, Debug)]
pub struct Judge<'a> {
    verdict: Verdict<'a>,
    state: &'a AuthState,
}

#[derive(Clone, Debug)]
enum Verdict<'a> {
    MayAll,
    Anonymous,
    Unknown,
    Known(&'a AuthInfo, &'a Account),
}

impl AuthState {
    pub fn judge<'a>(&'a self, principal: &'a Principal) -> Judge<'a> {
        let verdict = match principal {
            _ if !self.is_enabled() => Verdict::MayAll,
            Principal::Member => Verdict::MayAll,
            Principal::Anonymous => Verdict::Anonymous,
            // As etcd: a revision that cannot be names nobody.
            Principal::User(AuthInfo { revision: 0, .. }) => Verdict::Anonymous,
            Principal::User(info) => match self.account(&info.user) {
                Some(account) => Verdict::Known(info, account),
                None => Verdict::Unknown,
            },
        };
        Judge {
            verdict,
            state: self,
        }
    }
}

impl AuthState {
    /// Whether a watcher of a range may be, by what its client may do now. That it said who it is
    /// by an earlier auth revision does not matter: it need not say so again while it watches.
    pub fn watches(&self, principal: &Principal, range: &KeyRange) -> Result<(), Error> {
        match principal {
            Principal::User(info) => {
                let now = Principal::User(AuthInfo {
                    user: info.user.clone(),
                    revision: self.revision(),
                });
                self.judge(&now).reads(range)
            }
            principal => self.judge(principal).reads(range),
        }
    }
}

impl<'a> Judge<'a> {
    /// Whether a command may be applied to the state of `view`.
    pub fn command(&self, command: &Command, view: &dyn View) -> Result<(), QueryError> {
        match command {
            Command::Put(put) => self.put(put, view)?,
            Command::DeleteRange(delete) => self.delete_range(delete)?,
            Command::Txn(txn) => self.txn(txn, view)?,
            Command::LeaseGrant { .. } => self.user()?,
            Command::LeaseRevoke { id } => {
                self.user()?;
                self.writes_keys_of(*id, view)?;
            }
            Command::Compact(_)
            | Command::AlarmRaise(_)
            | Command::AlarmDisarm(_)
            | Command::Downgrade(_) => {
                self.admin()?;
            }
            Command::Auth(AuthCommand::Authenticate { .. }) => {}
            Command::Auth(_) => self.admin()?,
            // What members tell of themselves; and v2 has users of its own.
            Command::MemberPublish { .. }
            | Command::V2(_)
            | Command::V2Expire { .. }
            | Command::V2Auth(_) => {}
        }
        Ok(())
    }

    pub fn range(&self, request: &RangeRequest) -> Result<(), Error> {
        self.reads(&request.range)
    }

    /// A transaction, whatever branches it takes, with all that is nested in it.
    pub fn txn(&self, txn: &TxnRequest, view: &dyn View) -> Result<(), QueryError> {
        for compare in &txn.compare {
            self.reads(&compare.range)?;
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                Op::Range(request) => self.range(request)?,
                Op::Put(request) => self.put(request, view)?,
                Op::DeleteRange(request) => self.delete_range(request)?,
                Op::Txn(nested) => self.txn(nested, view)?,
            }
        }
        Ok(())
    }

    /// Whether every key of a range may be read.
    pub fn reads(&self, range: &KeyRange) -> Result<(), Error> {
        self.keys(|account| account.reads.covers(range))
    }

    /// Whether the keys of a lease may be read.
    pub fn reads_keys_of(&self, lease: LeaseId, view: &dyn View) -> Result<(), QueryError> {
        self.user()?;
        if self.may_all() {
            return Ok(());
        }
        for key in lease_key_rows(view, lease) {
            let key = key?;
            self.keys(|account| account.reads.contains(&key))?;
        }
        Ok(())
    }

    /// Whether this is a user at all.
    pub fn user(&self) -> Result<(), Error> {
        self.account().map(drop)
    }

    /// Whether this is a user with the role root.
    pub fn admin(&self) -> Result<(), Error> {
        match self.account()? {
            Some(account) if !account.is_root => Err(Error::PermissionDenied),
            _ => Ok(()),
        }
    }

    /// Whether this is `user`, or a user with the role root.
    pub fn is_self_or_admin(&self, user: &str) -> Result<(), Error> {
        match &self.verdict {
            Verdict::Known(info, _) if info.user == user => self.user(),
            _ => self.admin(),
        }
    }

    /// Whether this is a user with the role `role`, or with the role root.
    pub fn has_role_or_is_admin(&self, role: &str) -> Result<(), Error> {
        match self.account()? {
            Some(account) if account.user.roles.iter().any(|it| it == role) => Ok(()),
            _ => self.admin(),
        }
    }

    fn put(&self, put: &PutRequest, view: &dyn View) -> Result<(), QueryError> {
        self.keys(|account| account.writes.contains(&put.key))?;
        if put.lease != LeaseId::NONE {
            self.writes_keys_of(put.lease, view)?;
        }
        if put.prev_kv {
            self.keys(|account| account.reads.contains(&put.key))?;
        }
        Ok(())
    }

    fn delete_range(&self, delete: &DeleteRangeRequest) -> Result<(), Error> {
        self.keys(|account| account.writes.covers(&delete.range))?;
        if delete.prev_kv {
            self.reads(&delete.range)?;
        }
        Ok(())
    }

    /// Whether the keys of a lease may be written: whoever revokes it deletes them, and whoever
    /// attaches a key of its own has it deleted with them.
    fn writes_keys_of(&self, lease: LeaseId, view: &dyn View) -> Result<(), QueryError> {
        if self.may_all() {
            return Ok(());
        }
        for key in lease_key_rows(view, lease) {
            let key = key?;
            self.keys(|account| account.writes.contains(&key))?;
        }
        Ok(())
    }

    fn may_all(&self) -> bool {
        match &self.verdict {
            Verdict::MayAll => true,
            Verdict::Known(_, account) => account.is_root,
            Verdict::Anonymous | Verdict::Unknown => false,
        }
    }

    /// The user's account; `None` for whoever may do everything without being one.
    fn account(&self) -> Result<Option<&'a Account>, Error> {
        match &self.verdict {
            Verdict::MayAll => Ok(None),
            Verdict::Anonymous => Err(Error::UserEmpty),
            Verdict::Unknown => Err(Error::PermissionDenied),
            Verdict::Known(info, _) if !self.state.keeps_token(&info.user, info.revision) => {
                Err(Error::AuthOldRevision)
            }
            Verdict::Known(_, account) => Ok(Some(account)),
        }
    }

    fn keys(&self, are_granted: impl FnOnce(&Account) -> bool) -> Result<(), Error> {
        match &self.verdict {
            Verdict::MayAll => Ok(()),
            Verdict::Anonymous => Err(Error::UserEmpty),
            Verdict::Known(info, _) if info.revision < self.state.revision() => {
                Err(Error::AuthOldRevision)
            }
            Verdict::Known(_, account) if account.is_root || are_granted(account) => Ok(()),
            Verdict::Known(..) | Verdict::Unknown => Err(Error::PermissionDenied),
        }
    }
}
