//! The tree of v2 commands.

use super::context::Context;
use super::flags::Flag;
use super::{
    auth, backup, cluster_health, exec_watch, get, ls, member, mk, mkdir, rm, rmdir, role, set,
    setdir, update, updatedir, user, watch,
};
use crate::ctl::failure::Failure;
use futures::future::BoxFuture;

/// One command, or a group of them.
pub struct Command {
    pub name: &'static str,
    /// Its arguments, as the help shows them.
    pub args: &'static str,
    pub about: &'static str,
    /// More, for the help; may be empty.
    pub long: &'static str,
    pub flags: &'static [Flag],
    pub action: Action,
}

pub enum Action {
    Group(&'static [&'static Command]),
    Run(Run),
}

pub type Run = for<'a> fn(&'a mut Context) -> BoxFuture<'a, Result<(), Failure>>;

pub const COMMANDS: &[&Command] = &[
    &backup::COMMAND,
    &cluster_health::COMMAND,
    &mk::COMMAND,
    &mkdir::COMMAND,
    &rm::COMMAND,
    &rmdir::COMMAND,
    &get::COMMAND,
    &ls::COMMAND,
    &set::COMMAND,
    &setdir::COMMAND,
    &update::COMMAND,
    &updatedir::COMMAND,
    &watch::COMMAND,
    &exec_watch::COMMAND,
    &member::COMMAND,
    &user::COMMAND,
    &role::COMMAND,
    &auth::COMMAND,
];

/// The flags that stand before the command.
pub const GLOBAL: &[Flag] = &[
    Flag::switch(
        &["debug"],
        "output cURL commands which can be used to reproduce the request",
    ),
    Flag::switch(
        &["no-sync"],
        "don't synchronize cluster information before sending request",
    ),
    Flag {
        default: "simple",
        value: "simple",
        ..Flag::text(
            &["output", "o"],
            "output response in the given format (simple, `extended` or `json`)",
        )
    },
    Flag::text(
        &["discovery-srv", "D"],
        "domain name to query for SRV records describing cluster endpoints",
    ),
    Flag::switch(
        &["insecure-discovery"],
        "accept insecure SRV records describing cluster endpoints",
    ),
    Flag::text(
        &["peers", "C"],
        "DEPRECATED - \"--endpoints\" should be used instead",
    ),
    Flag::text(
        &["endpoint"],
        "DEPRECATED - \"--endpoints\" should be used instead",
    ),
    Flag::text(
        &["endpoints"],
        "a comma-delimited list of machine addresses in the cluster (default: \
         \"http://127.0.0.1:2379,http://127.0.0.1:4001\")",
    ),
    Flag::text(
        &["cert-file"],
        "identify HTTPS client using this SSL certificate file",
    ),
    Flag::text(
        &["key-file"],
        "identify HTTPS client using this SSL key file",
    ),
    Flag::text(
        &["ca-file"],
        "verify certificates of HTTPS-enabled servers using this CA bundle",
    ),
    Flag::text(
        &["username", "u"],
        "provide username[:password] and prompt if password is not supplied.",
    ),
    Flag::duration(&["timeout"], "2s", "connection timeout per request"),
    Flag::duration(
        &["total-timeout"],
        "5s",
        "timeout for the command execution (except watch)",
    ),
];

pub const VERSION: Flag = Flag::switch(&["version", "v"], "print the version");

/// A command's time to live, the same for all that have one.
pub const TTL: Flag = Flag::number(&["ttl"], "key time-to-live in seconds");
pub const SORT: Flag = Flag::switch(&["sort"], "returns result in sorted order");
pub const QUORUM: Flag = Flag::switch(&["quorum", "q"], "require quorum for get request");

impl Command {
    pub fn children(&self) -> &'static [&'static Command] {
        match self.action {
            Action::Group(children) => children,
            Action::Run(_) => &[],
        }
    }
}

/// The command of that name.
pub fn named(commands: &[&'static Command], name: &[u8]) -> Option<&'static Command> {
    let found = commands
        .iter()
        .find(|command| command.name.as_bytes() == name);
    found.copied()
}
