//! The tree of commands, and how a command line finds its way through it: names may be cut short
//! as long as they are clear, and flags may stand before, between and after them.

use super::command_line::Word;
use super::context::Context;
use super::failure::Failure;
use super::flags::{Flag, HELP, Kind};
use super::{
    alarm, auth, compaction, completion, defrag, del, elect, endpoint, get, lease, lock, member,
    migrate, move_leader, put, role, snapshot, txn, user, version, watch,
};

/// One command of detcdctl, or a group of them.
pub struct Command {
    pub name: &'static str,
    pub usage: &'static str,
    pub about: &'static str,
    /// More, for the help; may be empty.
    pub long: &'static str,
    pub flags: &'static [Flag],
    pub action: Action,
}

pub enum Action {
    Group(&'static [&'static Command]),
    Run(Verb),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Put,
    Del,
    Txn,
    Watch,
    Compaction,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseList,
    LeaseRevoke,
    LeaseTimeToLive,
    MemberAdd,
    MemberList,
    MemberPromote,
    MemberRemove,
    MemberUpdate,
    MoveLeader,
    Lock,
    Elect,
    Defrag,
    SnapshotRestore,
    SnapshotSave,
    SnapshotStatus,
    AlarmList,
    AlarmDisarm,
    Migrate,
    EndpointHashKv,
    EndpointHealth,
    EndpointStatus,
    AuthEnable,
    AuthDisable,
    AuthStatus,
    UserAdd,
    UserDelete,
    UserGet,
    UserList,
    UserPasswd,
    UserGrantRole,
    UserRevokeRole,
    RoleAdd,
    RoleDelete,
    RoleGet,
    RoleList,
    RoleGrantPermission,
    RoleRevokePermission,
    Version,
    Completion,
}

pub const ROOT: Command = Command {
    name: "detcdctl",
    usage: "",
    about: "The command line of detcd and of etcd's v3 API",
    long: "",
    flags: GLOBAL,
    action: Action::Group(&[
        &get::COMMAND,
        &put::COMMAND,
        &del::COMMAND,
        &txn::COMMAND,
        &compaction::COMMAND,
        &endpoint::COMMAND,
        &watch::COMMAND,
        &version::COMMAND,
        &lease::COMMAND,
        &member::COMMAND,
        &move_leader::COMMAND,
        &snapshot::COMMAND,
        &defrag::COMMAND,
        &lock::COMMAND,
        &elect::COMMAND,
        &alarm::COMMAND,
        &migrate::COMMAND,
        &auth::COMMAND,
        &user::COMMAND,
        &role::COMMAND,
        &completion::COMMAND,
    ]),
};

/// The flags of every command.
pub const GLOBAL: &[Flag] = &[
    Flag::text(
        "cacert",
        "",
        "check the server's certificate with this CA bundle",
    ),
    Flag::text("cert", "", "this client's TLS certificate"),
    Flag::duration("command-timeout", "5s", "how long a short command may take"),
    Flag::switch("debug", "print what the flags came to"),
    Flag::duration(
        "dial-timeout",
        "2s",
        "how long one connection may take to come up",
    ),
    Flag::text(
        "discovery-srv",
        "",
        "find the endpoints by this domain's SRV records",
    )
    .short('d'),
    Flag::text(
        "discovery-srv-name",
        "",
        "the service name to ask for in SRV records",
    ),
    ENDPOINTS,
    Flag::switch("hex", "print keys and values in hexadecimal"),
    Flag {
        default: "true",
        ..Flag::switch("insecure-discovery", "take SRV records unprotected")
    },
    Flag::switch(
        "insecure-skip-tls-verify",
        "do not check the server's certificate (for tests)",
    ),
    Flag {
        default: "true",
        ..Flag::switch("insecure-transport", "connect without TLS")
    },
    Flag::duration(
        "keepalive-time",
        "2s",
        "how often an idle connection is probed",
    ),
    Flag::duration(
        "keepalive-timeout",
        "6s",
        "how long a probe waits for its answer",
    ),
    Flag::text("key", "", "this client's TLS key"),
    Flag::text("password", "", "the password of --user"),
    Flag::text(
        "user",
        "",
        "name[:password] (prompts if there is no password)",
    ),
    Flag::text(
        "write-out",
        "simple",
        "output format: fields, json, protobuf, simple or table",
    )
    .short('w'),
];

const ENDPOINTS: Flag = Flag {
    name: "endpoints",
    short: None,
    kind: Kind::List,
    default: "127.0.0.1:2379",
    about: "the servers, apart by commas",
};

/// A command and the way to it.
pub struct Found {
    /// From the root's child down to the command; empty for the root itself.
    pub path: Vec<&'static Command>,
    /// What is left of the command line, flags and all.
    pub rest: Vec<Word>,
}

impl Found {
    pub fn command(&self) -> &'static Command {
        self.path.last().copied().unwrap_or(&ROOT)
    }

    /// Every flag that may stand on the line.
    pub fn flags(&self) -> Vec<&'static Flag> {
        let own = self.path.iter().flat_map(|command| command.flags);
        own.chain([&HELP]).chain(GLOBAL).collect()
    }
}

impl Command {
    pub fn children(&self) -> &'static [&'static Command] {
        match self.action {
            Action::Group(children) => children,
            Action::Run(_) => &[],
        }
    }

    /// The child of this name, or the only one whose name starts so.
    fn child(&self, name: &[u8]) -> Option<&'static Command> {
        let children = self.children();
        if let Some(child) = children.iter().find(|child| child.name.as_bytes() == name) {
            return Some(child);
        }
        let mut matching = children
            .iter()
            .filter(|child| child.name.as_bytes().starts_with(name));
        match (matching.next(), matching.next()) {
            (Some(child), None) if !name.is_empty() => Some(child),
            _ => None,
        }
    }
}

/// Finds the command of a line.
pub fn find(args: &[Word]) -> Found {
    let mut found = Found {
        path: Vec::new(),
        rest: Vec::new(),
    };
    let mut takes_value = false;
    let mut args = args.iter();
    for arg in args.by_ref() {
        if takes_value {
            takes_value = false;
        } else if arg == b"--" {
            found.rest.push(arg.clone());
            break;
        } else if arg.len() > 1 && arg.starts_with(b"-") {
            takes_value = flag_takes_value(&String::from_utf8_lossy(arg), &found.flags());
        } else if let Some(child) = found.command().child(arg) {
            found.path.push(child);
            continue;
        } else {
            found.rest.push(arg.clone());
            break;
        }
        found.rest.push(arg.clone());
    }
    found.rest.extend(args.cloned());
    found
}

/// Names that `typed` may have been meant to be.
pub fn suggestions(typed: &str) -> Vec<&'static str> {
    const DISTANCE_MAX: usize = 2;
    let names = ROOT.children().iter().map(|command| command.name);
    names
        .filter(|name| distance(typed, name) <= DISTANCE_MAX || name.starts_with(typed))
        .collect()
}

/// Carries out `verb`.
pub async fn run(verb: Verb, context: &mut Context) -> Result<(), Failure> {
    match verb {
        Verb::Get => get::run(context).await,
        Verb::Put => put::run(context).await,
        Verb::Del => del::run(context).await,
        Verb::Txn => txn::run(context).await,
        Verb::Watch => watch::run(context).await,
        Verb::Compaction => compaction::run(context).await,
        Verb::LeaseGrant => lease::grant::run(context).await,
        Verb::LeaseKeepAlive => lease::keep_alive::run(context).await,
        Verb::LeaseList => lease::list::run(context).await,
        Verb::LeaseRevoke => lease::revoke::run(context).await,
        Verb::LeaseTimeToLive => lease::timetolive::run(context).await,
        Verb::MemberAdd => member::add::run(context).await,
        Verb::MemberList => member::list::run(context).await,
        Verb::MemberPromote => member::promote::run(context).await,
        Verb::MemberRemove => member::remove::run(context).await,
        Verb::MemberUpdate => member::update::run(context).await,
        Verb::MoveLeader => move_leader::run(context).await,
        Verb::Lock => lock::run(context).await,
        Verb::Elect => elect::run(context).await,
        Verb::Defrag => defrag::run(context).await,
        Verb::SnapshotRestore => snapshot::restore::run(context).await,
        Verb::SnapshotSave => snapshot::save::run(context).await,
        Verb::SnapshotStatus => snapshot::status::run(context),
        Verb::AlarmList => alarm::list::run(context).await,
        Verb::AlarmDisarm => alarm::disarm::run(context).await,
        Verb::Migrate => migrate::run(context).await,
        Verb::EndpointHashKv => endpoint::hashkv::run(context).await,
        Verb::EndpointHealth => endpoint::health::run(context).await,
        Verb::EndpointStatus => endpoint::status::run(context).await,
        Verb::AuthEnable => auth::enable::run(context).await,
        Verb::AuthDisable => auth::disable::run(context).await,
        Verb::AuthStatus => auth::status::run(context).await,
        Verb::UserAdd => user::add::run(context).await,
        Verb::UserDelete => user::delete::run(context).await,
        Verb::UserGet => user::get::run(context).await,
        Verb::UserList => user::list::run(context).await,
        Verb::UserPasswd => user::passwd::run(context).await,
        Verb::UserGrantRole => user::grant_role::run(context).await,
        Verb::UserRevokeRole => user::revoke_role::run(context).await,
        Verb::RoleAdd => role::add::run(context).await,
        Verb::RoleDelete => role::delete::run(context).await,
        Verb::RoleGet => role::get::run(context).await,
        Verb::RoleList => role::list::run(context).await,
        Verb::RoleGrantPermission => role::grant_permission::run(context).await,
        Verb::RoleRevokePermission => role::revoke_permission::run(context).await,
        Verb::Version => version::run(context),
        Verb::Completion => completion::run(context),
    }
}

/// Whether the argument after `arg` belongs to it. A flag that is not known is taken to have a
/// value, as etcdctl takes it.
fn flag_takes_value(arg: &str, flags: &[&Flag]) -> bool {
    if arg.contains('=') {
        return false;
    }
    let flag = match arg.strip_prefix("--") {
        Some(name) => flags.iter().find(|flag| flag.name == name),
        // `-wjson` has its value within.
        None if arg.chars().count() > 2 => return false,
        None => flags.iter().find(|flag| flag.short == arg.chars().nth(1)),
    };
    flag.is_none_or(|flag| flag.kind != Kind::Switch)
}

/// Levenshtein's distance, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> (Vec<&'static str>, Vec<String>) {
        let args: Vec<Word> = line.split_whitespace().map(Word::from).collect();
        let Found { path, rest } = find(&args);
        let rest = rest
            .into_iter()
            .map(|word| String::from_utf8(word).unwrap());
        (
            path.iter().map(|command| command.name).collect(),
            rest.collect(),
        )
    }

    #[test]
    fn names_may_be_cut_short() {
        assert_eq!(found("g k").0, ["get"]);
        assert_eq!(found("le gr 10").0, ["lease", "grant"]);
        assert_eq!(found("l gr 10").0, Vec::<&str>::new(), "lease or lock");
        assert_eq!(
            found("comp 3").0,
            Vec::<&str>::new(),
            "compaction or completion"
        );
        assert_eq!(found("compact 3").0, ["compaction"]);
        assert_eq!(found("bogus").0, Vec::<&str>::new());
    }

    #[test]
    fn flags_stand_around_names() {
        let (path, rest) = found("-w json --endpoints a:1 --hex lease -w fields grant 10 --x y");
        assert_eq!(path, ["lease", "grant"]);
        let expected = [
            "-w",
            "json",
            "--endpoints",
            "a:1",
            "--hex",
            "-w",
            "fields",
            "10",
            "--x",
            "y",
        ];
        assert_eq!(rest, expected);
        assert_eq!(found("get -- put").1, ["--", "put"]);
        assert_eq!(found("--bogus get k").0, Vec::<&str>::new());
    }

    #[test]
    fn suggestions_are_near() {
        assert_eq!(suggestions("lesae"), ["lease"]);
        assert_eq!(suggestions("gte"), ["get"]);
        assert_eq!(suggestions("nothing like it"), Vec::<&str>::new());
    }
}
