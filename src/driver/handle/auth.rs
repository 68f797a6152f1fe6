//! On whose behalf a handle asks, and the service's questions about users and roles.

use super::{Handle, Header};
use crate::identify::Identify;
use detcd_core::api::{KeyRange, Reply};
use detcd_core::auth::{AuthCommand, AuthState, Judge, Principal};
use detcd_core::command::Command;
use detcd_core::error::Error;
use detcd_core::query::QueryError;
use detcd_core::status::Published;
use detcd_core::watch;
use std::sync::Arc;

impl Handle {
    /// The same member, asked on behalf of a client: what the client may not do is refused. A
    /// handle without a client asks for the member itself.
    pub fn for_client(&self, client: Arc<dyn Identify>) -> Handle {
        Handle {
            client: Some(client),
            ..self.clone()
        }
    }

    /// Who may do what, as far as this member has applied its log.
    pub fn auth_known(&self) -> Arc<AuthState> {
        self.shared.engine.published().auth.clone()
    }

    /// The users and roles that a linearizable read sees, if `check` lets the client see them.
    pub async fn auth_state(
        &self,
        check: impl FnOnce(&Judge<'_>) -> Result<(), Error>,
    ) -> Result<(Header, Arc<AuthState>), Error> {
        let published = self.view_for(false).await?;
        self.permit(&published, |judge| Ok(check(judge)?))?;
        Ok((self.header(published.revision), published.auth.clone()))
    }

    pub async fn auth_change(&self, command: AuthCommand) -> Result<Header, Error> {
        Ok(self.write(Command::Auth(command)).await?.0)
    }

    /// Has a user authenticated whose password was found right. Gives the token of simple ones,
    /// and the auth revision that it is of.
    pub async fn authenticated(
        &self,
        user: String,
        token_prefix: String,
        checked_revision: u64,
    ) -> Result<(Header, String, u64), Error> {
        let command = AuthCommand::Authenticate {
            user,
            token_prefix,
            checked_revision,
        };
        match self.write_once(&Command::Auth(command)).await? {
            (header, Reply::Authenticated { token, revision }) => Ok((header, token, revision)),
            (_, other) => super::write::unreachable_reply("authenticate", &other),
        }
    }

    /// Whether the client is a user at all.
    pub async fn check_user(&self) -> Result<(), Error> {
        self.check(|judge| judge.user()).await
    }

    /// Whether the client may do what administrators may.
    pub async fn check_admin(&self) -> Result<(), Error> {
        self.check(|judge| judge.admin()).await
    }

    /// What this member has applied decides, but it refuses only by what is newest.
    async fn check(&self, check: fn(&Judge<'_>) -> Result<(), Error>) -> Result<(), Error> {
        self.know_client().await;
        let judge = || {
            let published = self.shared.engine.published();
            self.permit(&published, |judge| Ok(check(judge)?))
        };
        if judge().is_ok() {
            return Ok(());
        }
        self.confirm_read().await?;
        judge()
    }

    /// On whose behalf a watcher of a range is created. It is refused only by what is newest; from
    /// then on the node judges it.
    pub(crate) async fn watcher(&self, range: &KeyRange) -> Result<Option<Arc<Principal>>, Error> {
        self.know_client().await;
        match self.judged_watcher(range) {
            Ok(principal) => Ok(principal),
            Err(_) => {
                self.confirm_read().await?;
                self.judged_watcher(range)
            }
        }
    }

    fn judged_watcher(&self, range: &KeyRange) -> Result<Option<Arc<Principal>>, Error> {
        let auth = self.auth_known();
        if !auth.is_enabled() && self.client.is_some() {
            return Ok(None);
        }
        let principal = self.principal(&auth)?;
        let range = watch::named(range.clone());
        auth.judge(&principal).reads(&range)?;
        Ok(Some(Arc::new(principal)))
    }

    /// Waits until this member can tell who the client is.
    pub(crate) async fn know_client(&self) {
        let is_enabled = || self.shared.engine.published().auth.is_enabled();
        if let Some(client) = &self.client
            && is_enabled()
            && let Some(ready) = client.ready()
        {
            ready.await;
        }
    }

    /// On whose behalf this handle asks, by the users of `auth`.
    pub(crate) fn principal(&self, auth: &AuthState) -> Result<Principal, Error> {
        match &self.client {
            None => Ok(auth.member_principal()),
            Some(_) if !auth.is_enabled() => Ok(Principal::Anonymous),
            Some(client) => {
                let known = client.identify(auth)?;
                Ok(known.map_or(Principal::Anonymous, Principal::User))
            }
        }
    }

    /// Refuses what the client may not do with this view.
    pub(crate) fn permit(
        &self,
        published: &Published,
        check: impl FnOnce(&Judge<'_>) -> Result<(), QueryError>,
    ) -> Result<(), Error> {
        if self.client.is_none() || !published.auth.is_enabled() {
            return Ok(());
        }
        let principal = self.principal(&published.auth)?;
        self.settle(check(&published.auth.judge(&principal)))
    }
}
