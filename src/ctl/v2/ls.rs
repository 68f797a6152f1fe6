//! `ls`: what is in a directory.

use super::commands::{Action, Command, QUORUM, SORT};
use super::context::Context;
use super::event::Node;
use super::flags::Flag;
use super::keys::{Get, Keys};
use crate::ctl::failure::Failure;
use crate::ctl::output::line;
use std::io::Write as _;

pub const COMMAND: Command = Command {
    name: "ls",
    args: "[key]",
    about: "retrieve a directory",
    long: "",
    flags: &[
        SORT,
        Flag::switch(
            &["recursive", "r"],
            "returns all key names recursively for the given path",
        ),
        Flag::switch(&["p"], "append slash (/) to directories"),
        QUORUM,
    ],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    let mut keys = Keys::open(context).await?;
    let key = context.args.first().cloned();
    let key = key.unwrap_or_else(|| b"/".to_vec());
    let get = Get {
        recursive: context.flags.switch("recursive"),
        sorted: context.flags.switch("sort"),
        quorum: context.flags.switch("quorum"),
    };
    let event = keys.get(context, &key, get).await?;
    if context.global.text("output") != "simple" {
        return event.print(context);
    }
    let mut out = Vec::new();
    if !event.node.dir {
        line!(out, "{}", event.node.key);
    }
    let slash = if context.flags.switch("p") { "/" } else { "" };
    list(&event.node, slash, &mut out);
    context.terminal.out.write_all(&out)?;
    context.terminal.out.flush()?;
    Ok(())
}

/// The keys below `node`, each directory before what is in it.
fn list(node: &Node, slash: &str, out: &mut Vec<u8>) {
    for node in node.nodes.iter().flatten() {
        let slash_here = if node.dir { slash } else { "" };
        line!(out, "{}{slash_here}", node.key);
        list(node, slash, out);
    }
}
