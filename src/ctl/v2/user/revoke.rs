//! `user revoke`: takes roles from a user.

use super::{ROLES, change_roles};
use crate::ctl::v2::auth_api::Direction;
use crate::ctl::v2::commands::{Action, Command};

pub const COMMAND: Command = Command {
    name: "revoke",
    args: "<user>",
    about: "revoke roles for an etcd user",
    long: "",
    flags: &[ROLES],
    action: Action::Run(|context| Box::pin(change_roles(context, Direction::Revoke))),
};
