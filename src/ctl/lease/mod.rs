//! `lease`: leases, which let keys vanish together when nobody renews them.

pub mod grant;
pub mod keep_alive;
pub mod list;
pub mod revoke;
pub mod timetolive;

use super::commands::{Action, Command};
use super::failure::{Failure, code};
use super::go;

pub const COMMAND: Command = Command {
    name: "lease",
    usage: "lease <subcommand>",
    about: "Commands about leases",
    long: "",
    flags: &[],
    action: Action::Group(&[
        &grant::COMMAND,
        &keep_alive::COMMAND,
        &list::COMMAND,
        &revoke::COMMAND,
        &timetolive::COMMAND,
    ]),
};

/// A lease id as people write it: in hexadecimal.
fn parse_id(text: &str) -> Result<i64, Failure> {
    go::parse_int(text, 16)
        .map_err(|why| Failure::args(format!("bad lease ID arg ({why}), expecting ID in Hex")))
}

/// etcdctl counts what goes wrong in these commands as a bad connection.
fn as_connection(failure: Failure) -> Failure {
    Failure {
        code: code::BAD_CONNECTION,
        ..failure
    }
}
