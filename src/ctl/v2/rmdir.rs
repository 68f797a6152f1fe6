//! `rmdir`: removes an empty directory.

use super::commands::{Action, Command};
use super::keys::Delete;
use super::rm::remove;

pub const COMMAND: Command = Command {
    name: "rmdir",
    args: "<key>",
    about: "removes the key if it is an empty directory or a key-value pair",
    long: "",
    flags: &[],
    action: Action::Run(|context| {
        let delete = Delete {
            dir: true,
            ..Delete::default()
        };
        Box::pin(remove(context, delete))
    }),
};
