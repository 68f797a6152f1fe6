//! `mk`: a new key.

use super::commands::{Action, Command, TTL};
use super::context::Context;
use super::flags::Flag;
use super::keys::{Keys, Set};
use crate::ctl::failure::Failure;

pub const COMMAND: Command = Command {
    name: "mk",
    args: "<key> <value>",
    about: "make a new key with a given value",
    long: "",
    flags: &[
        Flag::switch(&["in-order"], "create in-order key under directory <key>"),
        TTL,
    ],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    let mut keys = Keys::open(context).await?;
    let (key, value) = (context.key()?, context.value()?);
    let ttl = context.flags.number("ttl");
    let event = if context.flags.switch("in-order") {
        keys.create_in_order(context, &key, value, ttl).await?
    } else {
        let set = Set {
            value,
            ttl,
            prev_exist: Some(false),
            ..Set::default()
        };
        keys.set(context, &key, set).await?
    };
    event.print(context)
}
