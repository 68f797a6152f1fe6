//! `set`: a key's value, whether it exists or not.

use super::commands::{Action, Command, TTL};
use super::context::Context;
use super::flags::Flag;
use super::keys::{Keys, Set};
use crate::ctl::failure::Failure;

pub const COMMAND: Command = Command {
    name: "set",
    args: "<key> <value>",
    about: "set the value of a key",
    long: "Set sets the value of a key.\n\n   \
           When <value> begins with '-', <value> is interpreted as a flag.\n   \
           Insert '--' for workaround:\n\n   \
           $ set -- <key> <value>",
    flags: &[
        TTL,
        Flag::text(&["swap-with-value"], "previous value"),
        Flag::number(&["swap-with-index"], "previous index"),
    ],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    let mut keys = Keys::open(context).await?;
    let key = context.key()?;
    let set = Set {
        value: context.value()?,
        ttl: context.flags.number("ttl"),
        prev_value: context.flags.bytes("swap-with-value"),
        prev_index: context.flags.number("swap-with-index"),
        ..Set::default()
    };
    keys.set(context, &key, set).await?.print(context)
}
