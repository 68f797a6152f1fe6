//! The replicated state: what each committed entry does to it.

use crate::alarm::{self, Alarms};
use crate::api::{Alarm, CompactRequest, LeaseId, Member, MemberId, Outcome, PutRequest, Reply};
use crate::auth::{self, AuthChange, AuthCommand, AuthState, Principal};
use crate::codec::{
    ALARM_RAISED, META_DOWNGRADE, META_MVCC, MvccMeta, alarm_key, decode_asked, decode_member,
    encode_downgrade, encode_lease, encode_member, encode_member_log, encode_meta, lease_key,
    member_key, member_log_key, removed_key,
};
use crate::command::{Command, Proposal};
use crate::downgrade;
use crate::error::Error;
use crate::event::{Applied, LeaseChange, Seq};
use crate::kv::range::latest;
use crate::kv::txn;
use crate::kv::write::Writer;
use crate::limits::LEASE_TTL_MAX;
use crate::overlay::Overlay;
use crate::query::{At, QueryError, member_log, members};
use crate::v2;
use crate::view::{Fault, Table, View};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// The replicated state machine. Everything it knows lies in the rows; what it holds is a copy of
/// a few of them, so it can be loaded anew at any batch border.
///
/// Applying is a function of the rows and the entry alone: members that applied the same entries
/// have the same rows, in whatever batches the entries came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    at: At,
    alarms: Alarms,
    auth: Arc<AuthState>,
}

impl Machine {
    /// Takes up the state that the rows of `view` hold; no rows are an empty store.
    pub fn load(view: &dyn View) -> Result<Machine, Fault> {
        Ok(Machine {
            at: At::load(view)?,
            alarms: Alarms::load(view)?,
            auth: Arc::new(AuthState::load(view)?),
        })
    }

    /// The revision of the last change.
    pub fn revision(&self) -> i64 {
        self.at.revision
    }

    /// Reads below this revision are refused; -1 if nothing was ever compacted.
    pub fn compact_revision(&self) -> i64 {
        self.at.compact_revision
    }

    pub fn at(&self) -> At {
        self.at
    }

    /// Who may do what.
    pub fn auth(&self) -> &Arc<AuthState> {
        &self.auth
    }

    /// Applies the committed entry at `index` and writes its rows to `overlay`, which shows the
    /// state after the entry before. An entry that fails writes nothing but still answers.
    ///
    /// A fault means that the stored state or the log cannot be read, and the member must halt
    /// without writing the overlay.
    pub fn apply(
        &mut self,
        index: u64,
        proposal: Option<&Proposal>,
        overlay: &mut Overlay<'_>,
    ) -> Result<Applied, Fault> {
        let Some(proposal) = proposal else {
            return Ok(self.applied(Ok(Reply::Done)));
        };
        let in_entry = |fault: Fault| Fault(format!("log entry {index}: {}", fault.0));
        let asked = decode_asked(&proposal.command).map_err(in_entry)?;
        let mut applied = self.apply_asked(index, asked, overlay).map_err(in_entry)?;
        applied.origin = Some((proposal.origin, Seq(proposal.seq)));
        Ok(applied)
    }

    /// Makes the member rows those of a membership that raft committed. What a member published of
    /// itself is kept; who is not in `members` any more is removed, for good.
    pub fn apply_membership(
        &mut self,
        members: &[Member],
        overlay: &mut Overlay<'_>,
    ) -> Result<(), Fault> {
        let known = self::members(overlay)?;
        // etcd keeps the members in the tree of v2: each change of them is one of that.
        let mut v2_changes = 0;
        for gone in known
            .iter()
            .filter(|old| members.iter().all(|new| new.id != old.id))
        {
            overlay.delete(Table::Member, Bytes::copy_from_slice(&member_key(gone.id)));
            overlay.put(Table::Meta, removed_key(gone.id), Bytes::new());
            v2_changes += 2;
            if member_log(overlay, gone.id)?.is_some() {
                overlay.delete(Table::Meta, member_log_key(gone.id));
            }
        }
        for member in members {
            let mut member = member.clone();
            if let Some(old) = known.iter().find(|old| old.id == member.id) {
                if !old.name.is_empty() {
                    member.name.clone_from(&old.name);
                }
                if member.client_urls.is_empty() {
                    member.client_urls.clone_from(&old.client_urls);
                }
                if *old == member {
                    continue;
                }
            }
            put_member(overlay, &member);
            v2_changes += 1;
        }
        v2::note_members(v2_changes, overlay)
    }

    /// Applies a command if its principal may do that by now, whatever was true when it asked.
    fn apply_asked(
        &mut self,
        index: u64,
        (principal, command): (Principal, Command),
        overlay: &mut Overlay<'_>,
    ) -> Result<Applied, Fault> {
        if self.auth.is_enabled() {
            match self.auth.judge(&principal).command(&command, overlay) {
                Ok(()) => {}
                Err(QueryError::Request(refused)) => return Ok(self.applied(Err(refused))),
                Err(QueryError::Fault(fault)) => return Err(fault),
            }
        }
        self.apply_command(index, command, overlay)
    }

    fn apply_auth(
        &mut self,
        index: u64,
        command: AuthCommand,
        overlay: &mut Overlay<'_>,
    ) -> Applied {
        match auth::apply(&mut self.auth, command, index, overlay) {
            Ok((reply, tokens)) => Applied {
                auth: Some(AuthChange {
                    state: self.auth.clone(),
                    tokens,
                }),
                ..self.applied(Ok(reply))
            },
            Err(refused) => self.applied(Err(refused)),
        }
    }

    fn apply_command(
        &mut self,
        index: u64,
        command: Command,
        overlay: &mut Overlay<'_>,
    ) -> Result<Applied, Fault> {
        if let Err(refused) = self.alarms.admit(&command) {
            return Ok(self.applied(Err(refused)));
        }
        match command {
            Command::Put(put) => self.write(overlay, |writer| {
                check_put(writer.view(), &put)?;
                Ok(Reply::Put(writer.put(&put)?))
            }),
            Command::DeleteRange(delete) => self.write(overlay, |writer| {
                Ok(Reply::DeleteRange(writer.delete_range(&delete)?))
            }),
            Command::Txn(txn) => {
                self.write(overlay, |writer| Ok(Reply::Txn(txn::apply(writer, &txn)?)))
            }
            Command::LeaseRevoke { id } => self.revoke(id, overlay),
            Command::LeaseGrant { id, ttl } => self.grant(id, ttl, overlay),
            Command::Compact(compact) => Ok(self.compact(compact, overlay)),
            Command::MemberPublish {
                id,
                name,
                client_urls,
                log,
            } => self.publish((id, log), name, client_urls, overlay),
            Command::AlarmRaise(alarm) => self.raise(alarm, overlay),
            Command::AlarmDisarm(alarm) => self.disarm(alarm, overlay),
            Command::Downgrade(target) => self.downgrade(target, overlay),
            Command::V2(write) => {
                let (result, applied) = match v2::apply(&write, overlay)? {
                    Ok(applied) => (Ok(applied.event.clone()), Some(applied)),
                    Err(refused) => (Err(refused), None),
                };
                Ok(self.applied_v2(Reply::V2(write.operation, result), applied))
            }
            Command::V2Auth(write) => {
                let result = v2::auth::apply(&write, overlay)?;
                Ok(self.applied(Ok(Reply::V2Auth(result))))
            }
            Command::V2Expire { id } => {
                let applied = v2::expire(id, overlay)?;
                Ok(self.applied_v2(Reply::Done, applied))
            }
            Command::Auth(command) => Ok(self.apply_auth(index, command, overlay)),
        }
    }

    /// Runs what may write the next main revision.
    fn write(
        &mut self,
        overlay: &mut Overlay<'_>,
        run: impl FnOnce(&mut Writer<'_, '_>) -> Result<Reply, QueryError>,
    ) -> Result<Applied, Fault> {
        let mut writer = Writer::new(overlay, self.at);
        let result = match run(&mut writer) {
            Ok(reply) => Ok(reply),
            Err(QueryError::Request(error)) => Err(error),
            Err(QueryError::Fault(fault)) => return Err(fault),
        };
        let (revision, changes) = writer.finish();
        assert!(
            result.is_ok() || changes.is_empty(),
            "what fails writes nothing"
        );
        if revision != self.at.revision {
            self.at.revision = revision;
            self.put_meta(overlay);
        }
        Ok(Applied {
            changes,
            ..self.applied(result)
        })
    }

    fn grant(
        &mut self,
        id: LeaseId,
        ttl: i64,
        overlay: &mut Overlay<'_>,
    ) -> Result<Applied, Fault> {
        let key = lease_key(id);
        if id == LeaseId::NONE {
            return Ok(self.applied(Err(Error::LeaseNotFound)));
        }
        if ttl > LEASE_TTL_MAX {
            return Ok(self.applied(Err(Error::LeaseTtlTooLarge)));
        }
        if overlay.get(Table::Lease, &key)?.is_some() {
            return Ok(self.applied(Err(Error::LeaseExists)));
        }
        overlay.put(
            Table::Lease,
            Bytes::copy_from_slice(&key),
            encode_lease(ttl),
        );
        let lease = Some(LeaseChange::Granted { id, ttl });
        Ok(Applied {
            lease,
            ..self.applied(Ok(Reply::LeaseGrant { id, ttl }))
        })
    }

    fn revoke(&mut self, id: LeaseId, overlay: &mut Overlay<'_>) -> Result<Applied, Fault> {
        if overlay.get(Table::Lease, &lease_key(id))?.is_none() {
            return Ok(self.applied(Err(Error::LeaseNotFound)));
        }
        let applied = self.write(overlay, |writer| {
            writer.revoke(id)?;
            Ok(Reply::LeaseRevoke)
        })?;
        Ok(Applied {
            lease: Some(LeaseChange::Revoked { id }),
            ..applied
        })
    }

    fn compact(&mut self, compact: CompactRequest, overlay: &mut Overlay<'_>) -> Applied {
        if compact.revision <= self.at.compact_revision {
            return self.applied(Err(Error::Compacted));
        }
        if compact.revision > self.at.revision {
            return self.applied(Err(Error::FutureRevision));
        }
        self.at.compact_revision = compact.revision;
        overlay.live_keys().compact(compact.revision);
        self.put_meta(overlay);
        Applied {
            compacted: Some(compact.revision),
            ..self.applied(Ok(Reply::Compact))
        }
    }

    fn publish(
        &mut self,
        (id, log): (MemberId, Option<u64>),
        name: String,
        client_urls: Vec<String>,
        overlay: &mut Overlay<'_>,
    ) -> Result<Applied, Fault> {
        let key = member_key(id);
        let Some(row) = overlay.get(Table::Member, &key)? else {
            return Ok(self.applied(Err(Error::MemberNotFound)));
        };
        let member = Member {
            name,
            client_urls,
            ..decode_member(&key, &row)?
        };
        put_member(overlay, &member);
        v2::note_members(1, overlay)?;
        // The first one stays: the disk of a member id is never another one.
        if let Some(log) = log
            && member_log(overlay, id)?.is_none()
        {
            overlay.put(Table::Meta, member_log_key(id), encode_member_log(log));
        }
        Ok(self.applied(Ok(Reply::Done)))
    }

    fn raise(&mut self, alarm: Alarm, overlay: &mut Overlay<'_>) -> Result<Applied, Fault> {
        let key = Bytes::copy_from_slice(&alarm_key(alarm));
        overlay.put(Table::Alarm, key, ALARM_RAISED);
        self.alarms = Alarms::load(overlay)?;
        Ok(self.applied(Ok(Reply::AlarmRaise(alarm))))
    }

    fn disarm(&mut self, alarm: Alarm, overlay: &mut Overlay<'_>) -> Result<Applied, Fault> {
        let was_raised = alarm::is_raised(overlay, alarm)?;
        if was_raised {
            let key = Bytes::copy_from_slice(&alarm_key(alarm));
            overlay.delete(Table::Alarm, key);
            self.alarms = Alarms::load(overlay)?;
        }
        let disarmed = was_raised.then_some(alarm);
        Ok(self.applied(Ok(Reply::AlarmDisarm(disarmed))))
    }

    fn downgrade(
        &mut self,
        target: Option<String>,
        overlay: &mut Overlay<'_>,
    ) -> Result<Applied, Fault> {
        let announced = downgrade::target(overlay)?;
        if let Err(refused) = downgrade::admit(announced.as_deref(), target.as_deref()) {
            return Ok(self.applied(Err(refused)));
        }
        let key = Bytes::from_static(META_DOWNGRADE);
        match &target {
            Some(target) => overlay.put(Table::Meta, key, encode_downgrade(target)),
            None => overlay.delete(Table::Meta, key),
        }
        Ok(self.applied(Ok(Reply::Downgrade(target))))
    }

    fn put_meta(&self, overlay: &mut Overlay<'_>) {
        let At {
            revision,
            compact_revision,
        } = self.at;
        let row = encode_meta(MvccMeta {
            revision,
            compact_revision,
        });
        overlay.put(Table::Meta, Bytes::from_static(META_MVCC), row);
    }

    fn applied(&self, result: Result<Reply, Error>) -> Applied {
        Applied {
            origin: None,
            outcome: Outcome {
                revision: self.at.revision,
                result,
            },
            changes: Vec::new(),
            lease: None,
            compacted: None,
            v2: None,
            auth: None,
        }
    }

    fn applied_v2(&self, reply: Reply, applied: Option<v2::Applied>) -> Applied {
        Applied {
            v2: applied,
            ..self.applied(Ok(reply))
        }
    }
}

/// Whether a put may run: its lease first, then the key of which something is to be kept.
fn check_put(view: &dyn View, put: &PutRequest) -> Result<(), QueryError> {
    txn::check_lease(view, put.lease)?;
    if (put.ignore_value || put.ignore_lease) && latest(view, &put.key)?.is_none() {
        return Err(Error::KeyNotFound.into());
    }
    Ok(())
}

fn put_member(overlay: &mut Overlay<'_>, member: &Member) {
    let key = Bytes::copy_from_slice(&member_key(member.id));
    overlay.put(Table::Member, key, encode_member(member));
}
