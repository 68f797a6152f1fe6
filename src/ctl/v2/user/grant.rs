//! `user grant`: gives a user roles.

use super::{ROLES, change_roles};
use crate::ctl::v2::auth_api::Direction;
use crate::ctl::v2::commands::{Action, Command};

pub const COMMAND: Command = Command {
    name: "grant",
    args: "<user>",
    about: "grant roles to an etcd user",
    long: "",
    flags: &[ROLES],
    action: Action::Run(|context| Box::pin(change_roles(context, Direction::Grant))),
};
