//! `get`: the value of a key.

use super::commands::{Action, Command, QUORUM, SORT};
use super::context::Context;
use super::keys::{Get, Keys};
use crate::ctl::failure::Failure;

pub const COMMAND: Command = Command {
    name: "get",
    args: "<key>",
    about: "retrieve the value of a key",
    long: "",
    flags: &[SORT, QUORUM],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    let mut keys = Keys::open(context).await?;
    let key = context.key()?;
    let get = Get {
        recursive: false,
        sorted: context.flags.switch("sort"),
        quorum: context.flags.switch("quorum"),
    };
    let event = keys.get(context, &key, get).await?;
    if event.node.dir {
        let why = format!("{}: is a directory", event.node.key);
        return Err(Failure::error(why));
    }
    event.print(context)
}
