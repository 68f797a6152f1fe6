//! Leases.

use super::write::unreachable_reply;
use super::{Handle, Header};
use crate::inbox::Input;
use detcd_core::api::{LeaseId, LeaseInfo, Reply};
use detcd_core::command::Command;
use detcd_core::error::Error;
use detcd_core::event::{Asker, Event, Seq};
use detcd_core::{lease, query, validate};
use futures::future::{self, Either};
use std::pin::pin;

impl Handle {
    /// Grants a lease; `id = 0` chooses one. Answers the id and the time-to-live in seconds, which
    /// may be more than what was asked for.
    pub async fn lease_grant(
        &self,
        id: LeaseId,
        ttl: i64,
    ) -> Result<(Header, LeaseId, i64), Error> {
        let ttl = validate::lease_ttl(ttl, lease::ttl_min(self.shared.settings.election_timeout))?;
        let id = lease::settle_id(id, detcd_rt::random_u64());
        match self.write(Command::LeaseGrant { id, ttl }).await? {
            (header, Reply::LeaseGrant { id, ttl }) => Ok((header, id, ttl)),
            (_, other) => unreachable_reply("lease grant", &other),
        }
    }

    pub async fn lease_revoke(&self, id: LeaseId) -> Result<Header, Error> {
        Ok(self.write(Command::LeaseRevoke { id }).await?.0)
    }

    /// Renews a lease. `ttl` is 0 if there is no such lease.
    pub async fn keep_alive(&self, lease: LeaseId) -> Result<(Header, LeaseInfo), Error> {
        self.check_user().await?;
        let info = self
            .ask_lease(|seq| Event::KeepAlive {
                asker: Asker::Local(seq),
                lease,
            })
            .await?;
        Ok((self.header_now(), info))
    }

    /// What a lease has left, and with `keys` the keys attached to it.
    pub async fn time_to_live(
        &self,
        lease: LeaseId,
        keys: bool,
    ) -> Result<(Header, LeaseInfo), Error> {
        self.check_user().await?;
        let mut info = self
            .ask_lease(|seq| Event::TimeToLive {
                asker: Asker::Local(seq),
                lease,
            })
            .await?;
        if keys && info.ttl >= 0 {
            let published = self.view_for(false).await?;
            self.permit(&published, |judge| {
                judge.reads_keys_of(lease, &published.view)
            })?;
            info.keys = match query::are_lease_keys_few(&*published.view, lease) {
                true => self.settle_fault(query::lease_keys(&*published.view, lease))?,
                false => {
                    self.query_aside(move || Ok(query::lease_keys(&*published.view, lease)?))
                        .await?
                }
            };
        }
        Ok((self.header_now(), info))
    }

    /// The leases that there are. Without a leader, or if none answers, those that this member
    /// knows of: its clients have to go on by them.
    pub async fn leases(&self) -> Result<(Header, Vec<LeaseId>), Error> {
        self.full_member()?;
        let mut leader = self.leader();
        let lost = leader.wait_for(|it| it.is_none() || detcd_core::mutant!(LeaseListLocal));
        let lost = pin!(lost);
        if let Either::Left((Err(Error::Stopped), _)) =
            future::select(pin!(self.confirm_read()), lost).await
        {
            return Err(Error::Stopped);
        }
        let published = self.shared.engine.published();
        let header = self.header(published.at().revision);
        let leases = match query::are_leases_few(&*published.view) {
            true => self.settle_fault(query::leases(&*published.view))?,
            false => {
                self.query_aside(move || Ok(query::leases(&*published.view)?))
                    .await?
            }
        };
        Ok((header, leases.into_iter().map(|(id, _)| id).collect()))
    }

    async fn ask_lease(&self, event: impl FnOnce(Seq) -> Event) -> Result<LeaseInfo, Error> {
        self.full_member()?;
        self.ask(|seq, waiter| Input::Lease {
            seq,
            event: event(seq),
            waiter,
        })
        .await
    }
}
