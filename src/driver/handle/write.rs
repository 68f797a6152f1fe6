//! Writes, on their way into the log.

use super::{Handle, Header};
use crate::inbox::Input;
use detcd_core::api::Reply;
use detcd_core::auth::Principal;
use detcd_core::command::Command;
use detcd_core::error::Error;
use detcd_core::{codec, quota, validate};
use detcd_rt::buggify::{Place, maybe_wait};

/// How often a write is tried that users and roles overtake on its way.
const OLD_REVISION_TRIES: usize = 4;

impl Handle {
    /// Writes on behalf of the client. What is refused because users or roles were changed since
    /// the client was looked at is tried again: nothing of it was done.
    pub(crate) async fn write(&self, command: Command) -> Result<(Header, Reply), Error> {
        for _ in 1..OLD_REVISION_TRIES {
            match (self.write_once(&command).await, &self.client) {
                (Err(refused @ (Error::AuthOldRevision | Error::UserEmpty)), Some(client))
                    if client.may_fare_better(&refused) => {}
                (outcome, _) => return outcome,
            }
        }
        self.write_once(&command).await
    }

    pub(crate) async fn write_once(&self, command: &Command) -> Result<(Header, Reply), Error> {
        self.full_member()?;
        self.know_client().await;
        let auth = self.auth_known();
        let principal = self.principal(&auth)?;
        self.propose(&principal, command).await
    }

    pub(crate) async fn propose(
        &self,
        principal: &Principal,
        command: &Command,
    ) -> Result<(Header, Reply), Error> {
        let growth = quota::growth(command);
        let command = codec::encode_asked(principal, command);
        validate::command_size(&command, &self.shared.settings.limits)?;
        let outcome = self
            .ask(|seq, waiter| Input::Write {
                seq,
                command,
                growth,
                waiter,
            })
            .await?;
        maybe_wait(Place::Answer).await;
        Ok((self.header(outcome.revision), outcome.result?))
    }
}

/// Apply answers each command with its own kind of reply; another kind is a bug of apply.
pub(crate) fn unreachable_reply<T>(asked: &str, got: &Reply) -> T {
    panic!("apply answered a {asked} with {got:?}")
}
