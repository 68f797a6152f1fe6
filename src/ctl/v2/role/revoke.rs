//! `role revoke`: takes a path from a role.

use super::change_paths;
use crate::ctl::v2::auth_api::Direction;
use crate::ctl::v2::commands::{Action, Command};
use crate::ctl::v2::flags::Flag;

pub const COMMAND: Command = Command {
    name: "revoke",
    args: "<role>",
    about: "revoke path matches for an etcd role",
    long: "",
    flags: &[
        Flag::text(&["path"], "Path revoked for the role to access"),
        Flag::switch(&["read"], "Revoke read access"),
        Flag::switch(&["write"], "Revoke write access"),
        Flag::switch(&["readwrite", "rw"], "Revoke read-write access"),
    ],
    action: Action::Run(|context| Box::pin(change_paths(context, Direction::Revoke))),
};
