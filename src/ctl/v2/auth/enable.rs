//! `auth enable`.

use super::switch;
use crate::ctl::v2::commands::{Action, Command};

pub const COMMAND: Command = Command {
    name: "enable",
    args: " ",
    about: "enable auth access controls",
    long: "",
    flags: &[],
    action: Action::Run(|context| Box::pin(switch(context, true))),
};
