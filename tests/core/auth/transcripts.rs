//! Transcripts of users, roles and the judge: `tests/core/auth/*.txt`.
//!
//! `as=alice` says on whose behalf (`as=-` the member itself; left out, nobody has said who it is),
//! and `behind=1` that the client said so at an earlier auth revision. A range is written as in
//! etcd: `a` is one key, `a..b` a range, `a..` every key from `a` on.

use crate::store::Store;
use crate::transcript::{self, Command as Line};
use bytes::Bytes;
use detcd_core::api::*;
use detcd_core::auth::{
    AuthChange, AuthCommand, AuthInfo, Permission, PermissionKind, Principal, TokenChange,
};
use detcd_core::command::Command;
use detcd_core::query::QueryError;
use std::fmt::Write as _;

#[test]
fn transcripts() {
    transcript::run("auth", || {
        let mut store = Store::new();
        move |line: &Line| run(&mut store, line)
    });
}

fn run(store: &mut Store, line: &Line) -> String {
    let principal = principal(store, line);
    let text = |at| line.word::<String>(at);
    let command = match line.name.as_str() {
        "enable" => AuthCommand::Enable,
        "disable" => AuthCommand::Disable,
        "authenticate" => AuthCommand::Authenticate {
            user: text(0),
            token_prefix: line.or("prefix", String::new()),
            checked_revision: store.machine.auth().revision() - line.or("checked-behind", 0),
        },
        "user-add" => AuthCommand::UserAdd {
            name: line.or("name", line.words().first().cloned().unwrap_or_default()),
            password: Bytes::from(line.or("hash", String::new())),
            no_password: line.flag("no-password"),
        },
        "user-delete" => AuthCommand::UserDelete { name: text(0) },
        "passwd" => AuthCommand::UserChangePassword {
            name: text(0),
            password: Bytes::from(text(1)),
        },
        "grant-role" => AuthCommand::UserGrantRole {
            user: text(0),
            role: text(1),
        },
        "revoke-role" => AuthCommand::UserRevokeRole {
            user: text(0),
            role: text(1),
        },
        "role-add" => AuthCommand::RoleAdd {
            name: line.words().first().cloned().unwrap_or_default(),
        },
        "role-delete" => AuthCommand::RoleDelete { name: text(0) },
        "grant" => AuthCommand::RoleGrantPermission {
            role: text(0),
            permission: line.words().get(1).map(|kind| Permission {
                kind: kind_of(kind),
                range: range(&text(2)),
            }),
        },
        "revoke" => AuthCommand::RoleRevokePermission {
            role: text(0),
            range: range(&text(1)),
        },
        "show" => return show(store),
        "range" => {
            let request = RangeRequest::of(range(&text(0)));
            let auth = store.machine.auth();
            return said(auth.judge(&principal).range(&request).map_err(Into::into));
        }
        "lease-keys" => {
            let auth = store.machine.auth();
            let judge = auth.judge(&principal);
            return said(judge.reads_keys_of(LeaseId(line.word(0)), &store.tables));
        }
        "admin" => {
            let auth = store.machine.auth();
            return said(auth.judge(&principal).admin().map_err(Into::into));
        }
        "keeps" => {
            let kept = store.machine.auth().keeps_token(&text(0), line.word(1));
            return format!("{kept}\n");
        }
        _ => return apply(store, principal, keys_command(line)),
    };
    apply(store, principal, Command::Auth(command))
}

fn keys_command(line: &Line) -> Command {
    let lease = LeaseId(line.or("lease", 0));
    match line.name.as_str() {
        "put" => Command::Put(put(line.word::<String>(0), lease, line.flag("prev"))),
        "del" => Command::DeleteRange(DeleteRangeRequest {
            range: range(&line.word::<String>(0)),
            prev_kv: line.flag("prev"),
        }),
        "txn" => Command::Txn(txn(&mut line.input.lines(), &line.at)),
        "lease-grant" => Command::LeaseGrant {
            id: LeaseId(line.word(0)),
            ttl: 60,
        },
        "lease-revoke" => Command::LeaseRevoke {
            id: LeaseId(line.word(0)),
        },
        "compact" => Command::Compact(CompactRequest {
            revision: line.word(0),
            physical: false,
        }),
        "raise" => Command::AlarmRaise(Alarm {
            member: MemberId(1),
            kind: AlarmKind::NoSpace,
        }),
        other => panic!("{}: {other}?", line.at),
    }
}

/// `if RANGE`, `then OP`, `else OP`; the lines from `then txn` to `end` are a transaction.
fn txn<'a>(lines: &mut impl Iterator<Item = &'a str>, at: &str) -> TxnRequest {
    let mut txn = TxnRequest::default();
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let op = match words[..] {
            ["end"] => break,
            ["if", asked] => {
                txn.compare.push(Compare {
                    range: range(asked),
                    op: CompareOp::Equal,
                    target: CompareTarget::Version(0),
                });
                continue;
            }
            [_, "get", asked] => Op::Range(RangeRequest::of(range(asked))),
            [_, "put", key] => Op::Put(put(key.into(), LeaseId::NONE, false)),
            [_, "put", key, "prev"] => Op::Put(put(key.into(), LeaseId::NONE, true)),
            [_, "put", key, lease] => {
                let lease = lease.strip_prefix("lease=").expect("a lease");
                Op::Put(put(key.into(), LeaseId(lease.parse().unwrap()), false))
            }
            [_, "del", asked] => Op::DeleteRange(DeleteRangeRequest {
                range: range(asked),
                prev_kv: false,
            }),
            [_, "del", asked, "prev"] => Op::DeleteRange(DeleteRangeRequest {
                range: range(asked),
                prev_kv: true,
            }),
            [_, "txn"] => Op::Txn(self::txn(lines, at)),
            _ => panic!("{at}: {line}?"),
        };
        match words[0] {
            "then" => txn.success.push(op),
            "else" => txn.failure.push(op),
            other => panic!("{at}: {other}?"),
        }
    }
    txn
}

fn put(key: String, lease: LeaseId, prev_kv: bool) -> PutRequest {
    PutRequest {
        key: Bytes::from(key),
        value: Bytes::from_static(b"v"),
        lease,
        prev_kv,
        ..PutRequest::default()
    }
}

fn range(text: &str) -> KeyRange {
    let owned = |text: &str| Bytes::from(text.replace("\\0", "\0"));
    match text.split_once("..") {
        None => KeyRange::One(owned(text)),
        Some((start, "")) => KeyRange::Span {
            start: owned(start),
            end: None,
        },
        Some((start, end)) => KeyRange::Span {
            start: owned(start),
            end: Some(owned(end)),
        },
    }
}

fn kind_of(text: &str) -> PermissionKind {
    match text {
        "read" => PermissionKind::Read,
        "write" => PermissionKind::Write,
        "readwrite" => PermissionKind::ReadWrite,
        other => panic!("{other}?"),
    }
}

fn principal(store: &Store, line: &Line) -> Principal {
    let revision = store.machine.auth().revision() - line.or("behind", 0);
    match line.get::<String>("as").as_deref() {
        None => Principal::Anonymous,
        Some("-") => Principal::Member,
        Some(user) => Principal::User(AuthInfo {
            user: user.into(),
            revision,
        }),
    }
}

fn apply(store: &mut Store, principal: Principal, command: Command) -> String {
    let applied = store.apply_batch_for(&[(principal, command)]).remove(0);
    let mut out = match &applied.outcome.result {
        Ok(reply) => format!("{reply}"),
        Err(error) => format!("error: {error}"),
    };
    if let Some(AuthChange { state, tokens }) = applied.auth {
        write!(out, ", auth revision {}", state.revision()).unwrap();
        match tokens {
            Some(TokenChange::Assigned { user, token, .. }) => {
                write!(out, ", token {token} of {user}").unwrap();
            }
            Some(TokenChange::Ended { user }) => write!(out, ", tokens of {user} end").unwrap(),
            Some(TokenChange::AllEnded) => out.push_str(", all tokens end"),
            None => {}
        }
    }
    out.push('\n');
    out
}

fn said(judged: Result<(), QueryError>) -> String {
    match judged {
        Ok(()) => "granted\n".into(),
        Err(error) => format!("error: {error}\n"),
    }
}

fn show(store: &Store) -> String {
    let auth = store.machine.auth();
    let mut out = format!(
        "enabled={} revision={}\n",
        auth.is_enabled(),
        auth.revision()
    );
    for name in auth.users() {
        let user = auth.user(name).unwrap();
        let password = match user.no_password {
            true => "none".into(),
            false => user.password.escape_ascii().to_string(),
        };
        let roles = user.roles.join(",");
        writeln!(out, "user {name}: password {password}, roles {roles}").unwrap();
    }
    for name in auth.roles() {
        write!(out, "role {name}:").unwrap();
        for Permission { kind, range } in &auth.role(name).unwrap().permissions {
            write!(out, " {kind:?} {range}").unwrap();
        }
        out.push('\n');
    }
    out
}
