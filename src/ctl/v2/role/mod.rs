//! `role`: which paths of keys may be read and written.

mod add;
mod get;
mod grant;
mod list;
mod remove;
mod revoke;

use super::auth_api::{AuthApi, Direction, KeyPaths};
use super::commands::{Action, Command};
use super::context::Context;
use super::error::RequestError;
use super::url::clean_path;
use crate::ctl::failure::Failure;
use std::io::Write as _;

pub const COMMAND: Command = Command {
    name: "role",
    args: "",
    about: "role add, grant and revoke subcommands",
    long: "",
    flags: &[],
    action: Action::Group(&[
        &add::COMMAND,
        &get::COMMAND,
        &list::COMMAND,
        &remove::COMMAND,
        &grant::COMMAND,
        &revoke::COMMAND,
    ]),
};

/// The one argument of most of these commands.
fn name(context: &Context) -> Result<String, Failure> {
    match &context.texts()[..] {
        [name] => Ok(name.clone()),
        _ => Err(Failure::error("Please provide a role name")),
    }
}

/// `--path`, and whether it is about reading, writing or both.
fn key_paths(context: &Context) -> Result<KeyPaths, Failure> {
    let path = context.flags.text("path");
    if path.is_empty() {
        let why = "No path specified; please use `--path`";
        return Err(Failure::error(why));
    }
    let canonical = clean_path(path.as_bytes());
    if canonical != path.as_bytes() {
        let canonical = String::from_utf8_lossy(&canonical);
        let why = format!("Not canonical path; please use `--path={canonical}`");
        return Err(Failure::error(why));
    }
    let flag = |name: &str| context.flags.switch(name);
    let (read, write) = match (flag("read"), flag("write"), flag("readwrite")) {
        (true, false, false) => (true, false),
        (false, true, false) => (false, true),
        (false, false, true) => (true, true),
        _ => {
            let why = "Please specify exactly one of --read, --write or --readwrite";
            return Err(Failure::error(why));
        }
    };
    let paths = |wanted: bool| wanted.then(|| vec![path.clone()]);
    Ok(KeyPaths {
        read: paths(read),
        write: paths(write),
    })
}

async fn change_paths(context: &mut Context, direction: Direction) -> Result<(), Failure> {
    let paths = key_paths(context)?;
    let name = name(context)?;
    let mut auth = AuthApi::open(context).await?;
    let deadline = context.deadline();
    let before = auth
        .role(context, &name, deadline)
        .await
        .map_err(RequestError::fail_plainly)?;
    let after = auth
        .change_paths(context, &name, direction, &paths, deadline)
        .await
        .map_err(RequestError::fail_plainly)?;
    if before == after {
        let done = match direction {
            Direction::Grant => "granted",
            Direction::Revoke => "revoked",
        };
        // On the line of what follows, as etcdctl prints it.
        write!(context.terminal.out, "Role unchanged; already {done}")?;
    }
    context.terminal.say(&format!("Role {name} updated"))
}
