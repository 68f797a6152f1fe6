//! `backup`: copies a data-dir of etcd's, which detcd's is not.

use super::commands::{Action, Command};
use super::flags::Flag;
use crate::ctl::failure::Failure;

pub const COMMAND: Command = Command {
    name: "backup",
    args: " ",
    about: "backup an etcd directory",
    long: "",
    flags: &[
        Flag::text(&["data-dir"], "Path to the etcd data dir"),
        Flag::text(&["wal-dir"], "Path to the etcd wal dir"),
        Flag::text(&["backup-dir"], "Path to the backup dir"),
        Flag::text(&["backup-wal-dir"], "Path to the backup wal dir"),
        Flag::switch(&["with-v3"], "Backup v3 backend data"),
    ],
    action: Action::Run(|_| Box::pin(std::future::ready(Err(refusal())))),
};

fn refusal() -> Failure {
    Failure::error(
        "detcdctl backup cannot back up a data-dir: it does not read etcd's files, and detcd has \
         others. Save the keys of v3 with `detcdctl snapshot save`. For a backup of a whole detcd \
         member, stop it and copy its data-dir, which starts again as that member and as no other; \
         for one of an etcd member, use etcdctl 3.4",
    )
}
