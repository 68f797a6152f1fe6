//! Transcripts of v2: `tests/core/v2/*.txt`.
//!
//! Words are those of etcd's HTTP API: `put /a value=1 prevValue=0`, `post`, `delete`, `get`. `watch`
//! registers a watcher at the hub, and each line shows what the hub sends; `find` looks at the
//! history. `auth` changes users and roles, and `may` asks what somebody may do.

use crate::store::Store;
use crate::transcript::{self, Command as Line};
use bytes::Bytes;
use detcd_core::api::{Reply, StreamId};
use detcd_core::command::Command;
use detcd_core::error::Error;
use detcd_core::v2::auth::{self, Asked, Asker, AuthChange, AuthReply, AuthWrite, KeyPaths};
use detcd_core::v2::history::{self, Interest};
use detcd_core::v2::watch::{Hub, Watch};
use detcd_core::v2::{
    Dialect, Event, Operation, Refused, ShownNode, TreeError, UnixNanos, Write, tree,
};
use std::fmt::Write as _;

const START: UnixNanos = UnixNanos(1_800_000_000_000_000_000);

struct Session {
    store: Store,
    hub: Hub,
    /// Seconds since the start, by the clock of whoever takes the request.
    now: i64,
}

#[test]
fn transcripts() {
    transcript::run("v2", || {
        let store = Store::new();
        let hub = Hub::new(tree::index(&store.tables).unwrap());
        let mut session = Session { store, hub, now: 0 };
        move |line: &Line| session.run(line)
    });
}

impl Session {
    fn run(&mut self, line: &Line) -> String {
        self.now = line.or("at", self.now);
        let mut out = String::new();
        match line.name.as_str() {
            "put" | "post" | "delete" => {
                let write = self.write(line);
                self.apply(&mut out, Command::V2(write));
            }
            // `repeat 1200`: as many writes of one key.
            "repeat" => {
                for _ in 0..line.word::<u64>(0) {
                    let write = self.write(&transcript::parse(
                        "put /r value=x",
                        String::new(),
                        line.at.clone(),
                    ));
                    self.apply(&mut String::new(), Command::V2(write));
                }
                while self.hub.poll().is_some() {}
            }
            "auth" => {
                let write = AuthWrite {
                    asker: asker(line),
                    change: auth_change(line),
                };
                let applied = self.store.apply(Command::V2Auth(write));
                print_auth(&mut out, applied.outcome.result);
                let index = tree::index(&self.store.tables).unwrap();
                writeln!(out, "index {index}").unwrap();
            }
            "may" => {
                let asked = Asked {
                    asker: asker(line),
                    path: Bytes::from(line.need::<String>("path")),
                };
                let (recursive, writes) = (line.flag("recursive"), line.flag("write"));
                let may = auth::may(&self.store.tables, &asked, recursive, writes).unwrap();
                out.push_str(if may { "yes\n" } else { "no\n" });
            }
            "expire" => self.apply(&mut out, Command::V2Expire { id: line.word(0) }),
            "get" => match tree::get(
                &self.store.tables,
                &path(line),
                line.flag("recursive"),
                self.now(),
            ) {
                Ok((event, index)) => {
                    print_event(&mut out, &event);
                    writeln!(out, "index {index}").unwrap();
                }
                Err(error) => print_error(&mut out, error),
            },
            "find" => {
                let interest = Interest {
                    path: path(line),
                    recursive: line.flag("recursive"),
                };
                match history::find(&self.store.tables, &interest, line.need("since")) {
                    Ok(Some(event)) => print_event(&mut out, &event),
                    Ok(None) => writeln!(out, "yet to come").unwrap(),
                    Err(error) => print_error(&mut out, error),
                }
            }
            "ttls" => {
                for (id, seconds) in tree::state(&self.store.tables).unwrap().ttls {
                    writeln!(out, "{id} for {seconds} s").unwrap();
                }
            }
            "watch" => {
                let watch = Watch {
                    path: Bytes::from(line.or("path", String::new())),
                    recursive: line.flag("recursive"),
                    stream: line.flag("stream"),
                    since: line.or("since", 0),
                };
                self.hub.open(StreamId(line.word(0)), watch);
            }
            "close" => self.hub.close(StreamId(line.word(0))),
            "restore" => self.hub.restored(line.word(0)),
            other => panic!("{}: {other}?", line.at),
        }
        self.hub.check();
        while let Some(effect) = self.hub.poll() {
            writeln!(out, "{effect}").unwrap();
        }
        out
    }

    fn now(&self) -> UnixNanos {
        UnixNanos(START.0 + self.now * 1_000_000_000)
    }

    fn write(&self, line: &Line) -> Write {
        let prev_exist: Option<bool> = line.get("prevExist");
        let compares = line.get::<String>("prevValue").is_some() || line.or("prevIndex", 0) > 0;
        let operation = match (line.name.as_str(), prev_exist) {
            ("post", _) => Operation::CreateInOrder,
            ("delete", _) if compares => Operation::CompareAndDelete,
            ("delete", _) => Operation::Delete,
            (_, Some(false)) => Operation::Create,
            (_, _) if compares => Operation::CompareAndSwap,
            (_, Some(true)) => Operation::Update,
            (_, None) => Operation::Set,
        };
        Write {
            operation,
            time: self.now(),
            path: path(line),
            value: line.or("value", String::new()).into(),
            prev_value: line.or("prevValue", String::new()).into(),
            prev_index: line.or("prevIndex", 0),
            ttl: line.get("ttl"),
            dir: line.flag("dir"),
            recursive: line.flag("recursive"),
            refresh: line.flag("refresh"),
            dialect: match line.flag("by-etcd-0.2") {
                true => Dialect::Etcd02,
                false => Dialect::Etcd34,
            },
            asked: line.get::<String>("as").map(|_| Asked {
                asker: asker(line),
                path: path(line),
            }),
        }
    }

    fn apply(&mut self, out: &mut String, command: Command) {
        let applied = self.store.apply(command);
        match &applied.outcome.result {
            Ok(Reply::V2(_, Ok(event))) => print_event(out, event),
            Ok(Reply::V2(_, Err(refused))) => print_refused(out, refused),
            Ok(Reply::Done) if applied.v2.is_some() => {
                print_event(out, &applied.v2.as_ref().unwrap().event);
            }
            Ok(Reply::Done) => writeln!(out, "nothing to expire").unwrap(),
            other => panic!("{other:?}"),
        }
        if let Some(v2) = &applied.v2 {
            self.hub.applied(v2);
        }
    }
}

/// `as=ann/6`: the user, and the change that set the password that was shown.
fn asker(line: &Line) -> Asker {
    let Some(text) = line.get::<String>("as") else {
        return Asker::Guest;
    };
    let (name, index) = text.split_once('/').expect("a name and an index");
    Asker::User {
        name: name.into(),
        hash_index: index.parse().expect("an index"),
    }
}

fn auth_change(line: &Line) -> AuthChange {
    let name = || line.need::<String>("name");
    let list = |key: &str| line.get::<String>(key).map(|_| line.list::<String>(key));
    let paths = |read: &str, write: &str| KeyPaths {
        read: list(read),
        write: list(write),
    };
    let some = |paths: KeyPaths| Some(paths).filter(|paths| !paths.is_empty());
    match &line.word::<String>(0)[..] {
        "enable" => AuthChange::Enable,
        "disable" => AuthChange::Disable,
        "put-user" => AuthChange::PutUser {
            name: name(),
            hash: line.get::<String>("hash").map(Bytes::from),
            roles: list("roles"),
            grant: line.list("grant"),
            revoke: line.list("revoke"),
        },
        "delete-user" => AuthChange::DeleteUser { name: name() },
        "put-role" => AuthChange::PutRole {
            name: name(),
            paths: paths("read", "write"),
            grant: some(paths("grant-read", "grant-write")),
            revoke: some(paths("revoke-read", "revoke-write")),
        },
        "delete-role" => AuthChange::DeleteRole { name: name() },
        other => panic!("{}: {other}?", line.at),
    }
}

fn print_auth(out: &mut String, result: Result<Reply, Error>) {
    let how = |is_created| if is_created { "made" } else { "changed" };
    match result {
        Ok(Reply::V2Auth(Ok(AuthReply::Done))) => writeln!(out, "done"),
        Ok(Reply::V2Auth(Ok(AuthReply::User { user, is_created }))) => {
            let (how, name, roles) = (how(is_created), &user.name, &user.roles);
            let (hash, index) = (user.hash.escape_ascii(), user.hash_index);
            writeln!(
                out,
                "{how} user {name} hash {hash} of {index} roles {roles:?}"
            )
        }
        Ok(Reply::V2Auth(Ok(AuthReply::Role { role, is_created }))) => {
            let (how, name, paths) = (how(is_created), &role.name, &role.paths);
            let (read, write) = (&paths.read, &paths.write);
            writeln!(out, "{how} role {name} read {read:?} write {write:?}")
        }
        Ok(Reply::V2Auth(Err(refused))) => writeln!(out, "{refused}"),
        other => panic!("{other:?}"),
    }
    .unwrap();
}

/// The root is written `/`.
fn path(line: &Line) -> Bytes {
    let path: String = line.word(0);
    Bytes::from(path.trim_end_matches('/').to_owned())
}

fn print_event(out: &mut String, event: &Event) {
    writeln!(out, "{} {}", event.action.name(), show(&event.node)).unwrap();
    print_nodes(out, &event.node, 1);
    if let Some(prev) = &event.prev {
        writeln!(out, "  was {}", show(prev)).unwrap();
    }
}

fn print_nodes(out: &mut String, node: &ShownNode, depth: usize) {
    for child in &node.nodes {
        writeln!(out, "{}{}", "  ".repeat(depth), show(child)).unwrap();
        print_nodes(out, child, depth + 1);
    }
}

fn show(node: &ShownNode) -> String {
    let mut out = format!("{}", node.key.escape_ascii());
    if node.key.is_empty() {
        out.push('/');
    }
    if node.dir {
        out.push_str(" dir");
    }
    if let Some(value) = &node.value {
        write!(out, "={}", value.escape_ascii()).unwrap();
    }
    write!(out, " modified {} created {}", node.modified, node.created).unwrap();
    if let Some(expiration) = node.expiration {
        let seconds = (expiration.0 - START.0) / 1_000_000_000;
        write!(out, " until {seconds} s, left {} s", node.ttl).unwrap();
    }
    out
}

fn print_error(out: &mut String, error: TreeError) {
    match error {
        TreeError::Refused(refused) => print_refused(out, &refused),
        TreeError::Fault(fault) => panic!("{fault}"),
    }
}

fn print_refused(out: &mut String, refused: &Refused) {
    let Refused { code, cause, index } = refused;
    let (number, message) = (*code as u16, code.message());
    writeln!(
        out,
        "{number} {message} ({}) [{index}]",
        cause.escape_ascii()
    )
    .unwrap();
}
