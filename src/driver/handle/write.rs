//! Writes, on their way into the log.

use super::{Handle, Header};
use crate::inbox::Input;
use detcd_core::api::Reply;
use detcd_core::command::Command;
use detcd_core::error::Error;
use detcd_core::{codec, quota, validate};
use detcd_rt::buggify::{Place, maybe_wait};

impl Handle {
    pub(crate) async fn write(&self, command: Command) -> Result<(Header, Reply), Error> {
        self.full_member()?;
        self.propose(command).await
    }

    pub(crate) async fn propose(&self, command: Command) -> Result<(Header, Reply), Error> {
        let growth = quota::growth(&command);
        let command = codec::encode_command(&command);
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
