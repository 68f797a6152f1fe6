//! `mkdir`: a new directory.

use super::commands::{Action, Command, TTL};
use super::context::Context;
use super::keys::{Keys, Set};
use crate::ctl::failure::Failure;

pub const COMMAND: Command = Command {
    name: "mkdir",
    args: "<key>",
    about: "make a new directory",
    long: "",
    flags: &[TTL],
    action: Action::Run(|context| Box::pin(set_dir(context, Some(false)))),
};

/// Sets a directory that must exist, must not, or may.
pub async fn set_dir(context: &mut Context, prev_exist: Option<bool>) -> Result<(), Failure> {
    let mut keys = Keys::open(context).await?;
    let key = context.key()?;
    let set = Set {
        dir: true,
        ttl: context.flags.number("ttl"),
        prev_exist,
        ..Set::default()
    };
    keys.set(context, &key, set).await?.print_change(context)
}
