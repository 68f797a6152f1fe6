//! `auth disable`.

use super::switch;
use crate::ctl::v2::commands::{Action, Command};

pub const COMMAND: Command = Command {
    name: "disable",
    args: " ",
    about: "disable auth access controls",
    long: "",
    flags: &[],
    action: Action::Run(|context| Box::pin(switch(context, false))),
};
