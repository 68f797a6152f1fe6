//! `update`: the value of a key that exists.

use super::commands::{Action, Command, TTL};
use super::context::Context;
use super::keys::{Keys, Set};
use crate::ctl::failure::Failure;

pub const COMMAND: Command = Command {
    name: "update",
    args: "<key> <value>",
    about: "update an existing key with a given value",
    long: "",
    flags: &[TTL],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    let mut keys = Keys::open(context).await?;
    let key = context.key()?;
    let set = Set {
        value: context.value()?,
        ttl: context.flags.number("ttl"),
        prev_exist: Some(true),
        ..Set::default()
    };
    keys.set(context, &key, set).await?.print(context)
}
