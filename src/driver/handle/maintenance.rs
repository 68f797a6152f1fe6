//! What operators ask a member about itself: status, alarms, hashes.

use super::write::unreachable_reply;
use super::{Handle, Header};
use crate::compactor::SPACE_WAIT;
use crate::inbox::Input;
use detcd_core::api::{Alarm, AlarmRequest, Reply};
use detcd_core::backend;
use detcd_core::command::Command;
use detcd_core::downgrade;
use detcd_core::error::Error;
use detcd_core::query::{self, HashKv};
use detcd_core::status::RaftStatus;
use tokio::sync::oneshot;

/// A member as Maintenance.Status tells it.
#[derive(Clone, Debug)]
pub struct MemberStatus {
    pub raft: RaftStatus,
    pub db_size: i64,
    pub db_size_in_use: i64,
}

impl Handle {
    pub fn status(&self) -> MemberStatus {
        let size = self.shared.engine.size();
        MemberStatus {
            raft: self.shared.engine.status(),
            db_size: size.total_bytes as i64,
            db_size_in_use: size.in_use_bytes as i64,
        }
    }

    /// Answers the alarms that were asked for, raised or disarmed.
    pub async fn alarm(&self, request: AlarmRequest) -> Result<(Header, Vec<Alarm>), Error> {
        match request {
            AlarmRequest::List(kind) => {
                self.full_member()?;
                self.check_user().await?;
                self.confirm_read().await?;
                let mut alarms = self.alarms_known()?;
                alarms.retain(|alarm| kind.is_none_or(|kind| alarm.kind == kind));
                Ok((self.header_now(), alarms))
            }
            AlarmRequest::Raise(alarm) => match self.write(Command::AlarmRaise(alarm)).await? {
                (header, Reply::AlarmRaise(alarm)) => Ok((header, vec![alarm])),
                (_, other) => unreachable_reply("raise", &other),
            },
            AlarmRequest::Disarm(alarm) => match self.write(Command::AlarmDisarm(alarm)).await? {
                (header, Reply::AlarmDisarm(disarmed)) => {
                    Ok((header, disarmed.into_iter().collect()))
                }
                (_, other) => unreachable_reply("disarm", &other),
            },
            AlarmRequest::Nothing => Ok((self.header_now(), Vec::new())),
        }
    }

    /// The alarms that are raised as far as this member knows.
    pub fn alarms_known(&self) -> Result<Vec<Alarm>, Error> {
        self.settle_fault(query::alarms(&*self.shared.engine.published().view))
    }

    /// Gives back the space of what was removed, beside the traffic. Of a large state it goes on
    /// after the answer.
    pub async fn defragment(&self) -> Result<(), Error> {
        let (done, waiter) = oneshot::channel();
        let request = Input::Defragment(done);
        self.requests
            .send(request)
            .await
            .map_err(|_| Error::Stopped)?;
        match detcd_rt::timeout(SPACE_WAIT, waiter).await {
            Ok(Err(_)) => Err(Error::Stopped),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    /// The version that the members are to be downgraded to, as far as this member knows.
    pub fn downgrade_target(&self) -> Result<Option<String>, Error> {
        self.settle_fault(downgrade::target(&*self.shared.engine.published().view))
    }

    /// Whether a downgrade may be announced (`true`) or called off now.
    pub async fn downgrade_check(&self, announces: bool) -> Result<Header, Error> {
        let published = self.view_for(false).await?;
        let announced = self.settle_fault(downgrade::target(&*published.view))?;
        downgrade::admit(announced.as_deref(), announces.then_some(""))?;
        Ok(self.header(published.revision))
    }

    /// Announces a downgrade, or calls it off.
    pub async fn downgrade(&self, target: Option<String>) -> Result<Header, Error> {
        Ok(self.write(Command::Downgrade(target)).await?.0)
    }

    /// The hash of all rows of this member (etcd: of its backend).
    pub async fn hash(&self) -> Result<(Header, u32), Error> {
        let published = self.shared.engine.published();
        let header = self.header(published.revision);
        let hash = self.query_aside(move || Ok(backend::hash(&*published.view)?));
        Ok((header, hash.await?))
    }

    /// The hash of all key-value rows up to `revision` (0: the latest) and its header.
    pub async fn hash_kv(&self, revision: i64) -> Result<(Header, HashKv), Error> {
        let published = self.shared.engine.published();
        let at = published.at();
        let begun = detcd_rt::Instant::now();
        let hash = self
            .query_aside(move || query::hash_kv(&*published.view, at, revision))
            .await?;
        self.shared.stats.hashes.observe_seconds(begun.elapsed());
        Ok((self.header(at.revision), hash))
    }
}
