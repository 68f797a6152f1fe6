//! `snapshot restore`: makes the data-dir of a member of a new cluster. Every member of it is restored
//! from the same file, with its own name.

use super::file::{check_sum, failure, open};
use super::{Context, Failure};
use crate::config::{self, Config, Request, UsageError};
use crate::ctl::context::Terminal;
use crate::ctl::flags::{Flag, Values};
use crate::daemon::restored::{self, RestoreError};
use detcd_core::restore::RestoreOptions;
use std::path::Path;

pub const FLAGS: &[Flag] = &[
    Flag::number(
        "bump-revision",
        "how much later the revision of the restored state is",
    ),
    Flag::text("data-dir", "", "the data-dir that is made"),
    Flag::text(
        "initial-advertise-peer-urls",
        "http://localhost:2380",
        "this member's peer URLs, as the others are told",
    ),
    Flag::text(
        "initial-cluster",
        "default=http://localhost:2380",
        "all members of the new cluster",
    ),
    Flag::text(
        "initial-cluster-token",
        "etcd-cluster",
        "tells the new cluster from others with the same URLs",
    ),
    Flag::switch(
        "mark-compacted",
        "have clients told that earlier revisions are gone",
    ),
    Flag::text("name", "default", "this member's name"),
    Flag::switch(
        "skip-hash-check",
        "take a file without a checksum at its end (a copy of member/snap/db)",
    ),
    Flag::text(
        "wal-dir",
        "",
        "not used: detcd keeps the log in the data-dir",
    ),
];

pub(super) async fn run(context: &mut Context) -> Result<(), Failure> {
    let path = context.only_argument("snapshot restore")?;
    restore(&path, &context.flags, &mut context.terminal).await
}

/// Restores by flags of these names.
pub(crate) async fn restore(
    path: &str,
    flags: &Values,
    terminal: &mut Terminal,
) -> Result<(), Failure> {
    let options = options(flags)?;
    let config = config(flags)?;
    let member = restored::member(&config).await;
    let member = member.map_err(|error| Failure::error(error.to_string()))?;
    let data_dir = data_dir(flags);
    let is_free = match std::fs::read_dir(&data_dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if !is_free {
        return Err(Failure::error(format!(
            "data-dir \"{data_dir}\" not empty or could not be read"
        )));
    }
    let file = open(path, "open")?;
    if !flags.switch("skip-hash-check") {
        check_sum(&file)?;
    }
    let made = restored::restore(Path::new(&data_dir), &member, file, options).await;
    let at = made.map_err(|error| match error {
        RestoreError::Read(error) => failure(error),
        error => Failure::error(error.to_string()),
    })?;
    terminal.complain(&format!(
        "restored {path} to {data_dir}: revision {}, member {} ({}) of cluster {}",
        at.revision, member.own.member_id, member.name, member.own.cluster_id
    ))
}

fn data_dir(flags: &Values) -> String {
    match flags.text("data-dir") {
        "" => format!("{}.etcd", flags.text("name")),
        data_dir => data_dir.to_owned(),
    }
}

fn options(flags: &Values) -> Result<RestoreOptions, Failure> {
    let options = RestoreOptions {
        bump_revision: flags.number("bump-revision"),
        mark_compacted: flags.switch("mark-compacted"),
    };
    if options.bump_revision < 0 {
        return Err(Failure::error("--bump-revision must not be negative"));
    }
    if options.bump_revision > 0 && !options.mark_compacted {
        return Err(Failure::error(
            "--mark-compacted required if --bump-revision > 0",
        ));
    }
    if !flags.text("wal-dir").is_empty() {
        return Err(Failure::error(
            "detcd keeps the log in the data-dir: leave --wal-dir out",
        ));
    }
    Ok(options)
}

/// The flags as the server reads them.
fn config(flags: &Values) -> Result<Config, Failure> {
    let names = [
        "name",
        "initial-cluster",
        "initial-cluster-token",
        "initial-advertise-peer-urls",
    ];
    let args: Vec<String> = names
        .iter()
        .map(|name| format!("--{name}={}", flags.text(name)))
        .collect();
    match config::read(&args, &[]) {
        Ok(Request::Serve(config, _)) => Ok(*config),
        Ok(_) => unreachable!("no flag asks for anything else"),
        Err(UsageError::Syntax(why) | UsageError::Verify(why)) => Err(Failure::error(why)),
    }
}
