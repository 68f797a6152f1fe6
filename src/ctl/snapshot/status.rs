//! `snapshot status`, which etcdctl 3.5 still has beside that of etcdutl.

use super::deprecated;
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::utl::status::status;

pub const COMMAND: Command = Command {
    name: "status",
    usage: "snapshot status <filename>",
    about: "[deprecated] Checks a snapshot and prints its hash, revision, number of keys and size",
    long: "Moved to `detcdutl snapshot status`.",
    flags: &[],
    action: Action::Run(Verb::SnapshotStatus),
};

pub fn run(context: &mut Context) -> Result<(), Failure> {
    deprecated(context, "status")?;
    let [path] = &context.texts()[..] else {
        let why = "snapshot status requires exactly one argument";
        return Err(Failure::args(why));
    };
    context.style()?;
    let status = status(path)?;
    context.show(&status)
}
