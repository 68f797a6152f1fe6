//! `snapshot restore`, which etcdctl 3.5 still has beside that of etcdutl.

use super::deprecated;
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::utl::restore;

pub const COMMAND: Command = Command {
    name: "restore",
    usage: "snapshot restore <filename> [options]",
    about: "Makes the data-dir of a member of a new cluster from a snapshot",
    long: "Moved to `detcdutl snapshot restore`.",
    flags: restore::FLAGS,
    action: Action::Run(Verb::SnapshotRestore),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    deprecated(context, "restore")?;
    let [path] = &context.texts()[..] else {
        let why = "snapshot restore requires exactly one argument";
        return Err(Failure::args(why));
    };
    restore::restore(path, &context.flags, &mut context.terminal).await
}
