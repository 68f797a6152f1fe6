//! `role`: what users may do with which keys.

pub mod add;
pub mod delete;
pub mod get;
pub mod grant_permission;
pub mod list;
pub mod revoke_permission;

use super::command_line::Word;
use super::commands::{Action, Command};
use super::context::Context;
use super::failure::Failure;
use super::flags::Values;
use super::keys::prefix_range;
use bytes::Bytes;

pub const COMMAND: Command = Command {
    name: "role",
    usage: "role <subcommand>",
    about: "Commands about roles",
    long: "",
    flags: &[],
    action: Action::Group(&[
        &add::COMMAND,
        &delete::COMMAND,
        &get::COMMAND,
        &list::COMMAND,
        &grant_permission::COMMAND,
        &revoke_permission::COMMAND,
    ]),
};

/// The one argument of the command.
fn name(context: &Context, usage: &str) -> Result<String, Failure> {
    match &context.texts()[..] {
        [name] => Ok(name.clone()),
        _ => Err(Failure::args(usage)),
    }
}

/// The keys of a permission: `key`, `key end`, `--prefix` or `--from-key`.
fn permitted_keys(flags: &Values, args: &[Word]) -> Result<(Bytes, Bytes), Failure> {
    let (prefix, from_key) = (flags.switch("prefix"), flags.switch("from-key"));
    let zero = || Bytes::from_static(&[0]);
    let key = Bytes::from(args[0].clone());
    if key.is_empty() {
        // The first key that there can be stands for it.
        let end = if prefix || from_key {
            zero()
        } else {
            Bytes::new()
        };
        return Ok((zero(), end));
    }
    match args.get(1) {
        None if prefix && from_key => {
            let why = "--from-key and --prefix flags are mutually exclusive";
            Err(Failure::args(why))
        }
        None if prefix => Ok(prefix_range(key)),
        None if from_key => Ok((key, zero())),
        None => Ok((key, Bytes::new())),
        Some(_) if prefix => Err(Failure::args(
            "unexpected endkey argument with --prefix flag",
        )),
        Some(_) if from_key => {
            let why = "unexpected endkey argument with --from-key flag";
            Err(Failure::args(why))
        }
        Some(end) => Ok((key, Bytes::from(end.clone()))),
    }
}
