//! `role grant`: gives a role a path.

use super::change_paths;
use crate::ctl::v2::auth_api::Direction;
use crate::ctl::v2::commands::{Action, Command};
use crate::ctl::v2::flags::Flag;

pub const COMMAND: Command = Command {
    name: "grant",
    args: "<role>",
    about: "grant path matches to an etcd role",
    long: "",
    flags: &[
        Flag::text(&["path"], "Path granted for the role to access"),
        Flag::switch(&["read"], "Grant read-only access"),
        Flag::switch(&["write"], "Grant write-only access"),
        Flag::switch(&["readwrite", "rw"], "Grant read-write access"),
    ],
    action: Action::Run(|context| Box::pin(change_paths(context, Direction::Grant))),
};
