//! The texts of `--help` and `--version`.

use super::flags::{Kind, SECTIONS, Status};
use std::fmt::Write as _;

/// What the build knows of itself.
#[derive(Clone, Copy, Debug)]
pub struct VersionInfo {
    pub detcd: &'static str,
    pub git_sha: &'static str,
    pub rust: &'static str,
    pub os: &'static str,
    pub arch: &'static str,
}

impl VersionInfo {
    /// This build.
    pub const OWN: VersionInfo = VersionInfo {
        detcd: env!("CARGO_PKG_VERSION"),
        git_sha: env!("DETCD_BUILT_FROM"),
        rust: env!("DETCD_RUST_VERSION"),
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
    };

    /// Go's name for the processor, which scripts expect.
    pub fn go_arch(self) -> &'static str {
        match self.arch {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
    }
}

/// Four lines in etcd's shape.
pub fn version(info: VersionInfo) -> String {
    format!(
        "detcd Version: {}\nGit SHA: {}\nRust Version: {}\nRust OS/Arch: {}/{}\n",
        info.detcd,
        info.git_sha,
        info.rust,
        info.os,
        info.go_arch()
    )
}

/// How `detcd config` is called.
pub const CONFIG_USAGE: &str = "Usage:

  detcd config check FILE
    Tell what is wrong with a file of --config-file: unknown keys, values that are none or
    contradict each other, files that cannot be read, addresses that cannot be listened on.
    An address in use is a warning only: the member of this file may be running.

  detcd config print [flags]
    Show the effective value of every flag, and where it came from: a flag, a variable, a line
    of the file of --config-file, or the default. Takes the flags and variables of the server.
";

/// How the program is called: also what a syntax error is answered with.
pub fn usage() -> String {
    "Usage:

  detcd [flags]
    Serve as a member of a cluster.

  detcd --version
    Show the version.

  detcd -h | --help
    Show every flag.

  detcd config check FILE
    Tell what is wrong with a file of --config-file.

  detcd config print [flags]
    Show the effective value of every flag, and where it came from.

  detcd gateway start [flags]
    Hand TCP connections on to the endpoints of a cluster; see detcd gateway start --help.

  detcd bench [options]
    Load an etcd cluster and measure it; see detcd bench --help.
"
    .to_owned()
}

/// Every flag with its default. Flags may have one dash or two; each but the questions can be
/// given by a variable: `--data-dir` by `ETCD_DATA_DIR`.
pub fn help() -> String {
    let mut text = usage();
    text.push_str(
        "
Flags may begin with one dash or two, and be given as --flag=VALUE or --flag VALUE.
Each may be given by a variable instead: --data-dir by ETCD_DATA_DIR. A flag beats a variable.
Flags marked (inert) are accepted and mean nothing here; flags marked (default only) are
etcd's, and refused with any value but their default; flags marked (dropped) are accepted with a
warning, as etcd 2 did it.
",
    );
    for section in SECTIONS {
        let _ = write!(text, "\n{}:\n", section.title);
        for flag in section.flags {
            let mark = match flag.status {
                Status::Works => "",
                Status::Inert => " (inert)",
                Status::DefaultOnly => " (default only)",
                Status::Dropped => " (dropped)",
            };
            let words = match flag.kind {
                Kind::OneOf(words) => {
                    format!(" One of: {}.", words.join(", ").trim_start_matches(", "))
                }
                _ => String::new(),
            };
            let _ = writeln!(
                text,
                "  --{} '{}'\n    {}{words}{mark}",
                flag.name, flag.default, flag.help
            );
        }
    }
    text
}
