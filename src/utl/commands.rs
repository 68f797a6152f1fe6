//! The tree of commands.

use super::restore;
use crate::ctl::command_line::Word;
use crate::ctl::flags::Flag;

/// One command of detcdutl, or a group of them.
pub struct Command {
    pub name: &'static str,
    pub usage: &'static str,
    pub about: &'static str,
    pub flags: &'static [Flag],
    /// The flag without which there is nothing to do.
    pub required: Option<&'static str>,
    pub action: Action,
}

pub enum Action {
    Group(&'static [&'static Command]),
    Run(Verb),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    SnapshotStatus,
    SnapshotRestore,
    HashKv,
    Defrag,
    Version,
}

pub const WRITE_OUT: Flag = Flag::text(
    "write-out",
    "simple",
    "set the output format (fields, json, protobuf, simple, table)",
)
.short('w');

const ROOT: Command = Command {
    name: "",
    usage: "",
    about: "",
    flags: &[],
    required: None,
    action: Action::Group(&[&DEFRAG, &HASHKV, &SNAPSHOT, &VERSION]),
};

const SNAPSHOT: Command = Command {
    name: "snapshot",
    usage: "snapshot",
    about: "Restores snapshots of members, and tells what is in them",
    flags: &[],
    required: None,
    action: Action::Group(&[&RESTORE, &STATUS]),
};

const RESTORE: Command = Command {
    name: "restore",
    usage: "snapshot restore <filename> --data-dir {output dir} [options]",
    about: "Makes the data-dir of a member of a new cluster from a snapshot",
    flags: restore::FLAGS,
    required: Some("data-dir"),
    action: Action::Run(Verb::SnapshotRestore),
};

const STATUS: Command = Command {
    name: "status",
    usage: "snapshot status <filename>",
    about: "Checks a snapshot and prints its hash, revision, number of keys and size",
    flags: &[],
    required: None,
    action: Action::Run(Verb::SnapshotStatus),
};

const HASHKV: Command = Command {
    name: "hashkv",
    usage: "hashkv <filename or data-dir>",
    about: "Prints the hash of the history in a snapshot, or in the data-dir of a stopped member",
    flags: &[Flag::number(
        "rev",
        "hash the history up to this revision (0: all of it)",
    )],
    required: None,
    action: Action::Run(Verb::HashKv),
};

const DEFRAG: Command = Command {
    name: "defrag",
    usage: "defrag",
    about: "Gives back the space of what was removed from the data-dir of a stopped member",
    flags: &[Flag::text(
        "data-dir",
        "",
        "required: the data-dir, which no member uses meanwhile",
    )],
    required: Some("data-dir"),
    action: Action::Run(Verb::Defrag),
};

const VERSION: Command = Command {
    name: "version",
    usage: "version",
    about: "Prints the version",
    flags: &[],
    required: None,
    action: Action::Run(Verb::Version),
};

/// A command and what is left of the line.
pub struct Found {
    pub command: &'static Command,
    pub rest: Vec<Word>,
}

impl Found {
    pub fn command(&self) -> &'static Command {
        self.command
    }
}

impl Command {
    pub fn children(&self) -> &'static [&'static Command] {
        match self.action {
            Action::Group(children) => children,
            Action::Run(_) => &[],
        }
    }
}

/// Finds the command of a line. A flag before its name has its value behind it, as `-w json`.
pub fn find(args: &[Word]) -> Found {
    let mut found = Found {
        command: &ROOT,
        rest: Vec::new(),
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let child = found.command.children().iter();
        let child = child.clone().find(|child| child.name.as_bytes() == arg);
        match child {
            Some(child) => found.command = child,
            None => found.rest.push(arg.clone()),
        }
        let takes_value = [&b"-w"[..], b"--write-out"].contains(&&arg[..]);
        if takes_value && let Some(value) = args.next() {
            found.rest.push(value.clone());
        }
    }
    found
}
