//! Transcripts of the key space: `tests/core/kv/*.txt`. Those that begin with `etcd-` were written
//! by etcd 3.5.1 itself (`record.py` runs their commands against it), and `UPDATE=1` leaves them as
//! they are.

use crate::store::Store;
use crate::transcript::{self, Command as Line};
use bytes::Bytes;
use detcd_core::api::*;
use detcd_core::codec::{self, EventRow};
use detcd_core::command::Command;
use detcd_core::error::Error;
use detcd_core::query::{self, QueryError};
use detcd_core::validate::{self, Limits};
use detcd_core::view::Table;
use std::fmt::Write;

#[test]
fn transcripts() {
    transcript::run("kv", || {
        let mut store = Store::new();
        move |line: &Line| match run(&mut store, line) {
            Ok(output) => output,
            Err(error) => format!("error: {error}"),
        }
    });
}

fn run(store: &mut Store, line: &Line) -> Result<String, Error> {
    let mut out = String::new();
    match line.name.as_str() {
        "put" => {
            let request = parse_put(line);
            validate::put(&request)?;
            apply(store, &mut out, Command::Put(request))?;
        }
        "del" => {
            let request = parse_delete(line);
            validate::delete_range(&request)?;
            apply(store, &mut out, Command::DeleteRange(request))?;
        }
        "get" => {
            let request = parse_range(line);
            validate::range(&request)?;
            let reply = answered(query::range(&store.tables, store.at(), &request))?;
            print_range(&mut out, "", store.at().revision, &reply);
        }
        "txn" => {
            let request = parse_txn(&mut line.input.lines().peekable(), 0, &line.at);
            validate::txn(&request, &Limits::default())?;
            if request.is_read_only() {
                let reply = answered(query::txn(&store.tables, store.at(), &request))?;
                print_txn(&mut out, "", store.at().revision, &reply);
            } else {
                apply(store, &mut out, Command::Txn(request))?;
            }
        }
        "compact" => {
            let request = CompactRequest {
                revision: line.word(0),
                physical: true,
            };
            apply(store, &mut out, Command::Compact(request))?;
            store.remove_history(2, usize::MAX);
        }
        "grant" => {
            let (id, ttl) = (LeaseId(line.word(0)), validate::lease_ttl(line.word(1), 2)?);
            apply(store, &mut out, Command::LeaseGrant { id, ttl })?;
        }
        "revoke" => apply(
            store,
            &mut out,
            Command::LeaseRevoke {
                id: LeaseId(line.word(0)),
            },
        )?,
        "raise" => apply(store, &mut out, Command::AlarmRaise(parse_alarm(line)))?,
        "downgrade" => {
            let target = line.words().first().cloned();
            apply(store, &mut out, Command::Downgrade(target))?;
        }
        "disarm" => apply(store, &mut out, Command::AlarmDisarm(parse_alarm(line)))?,
        "alarms" => {
            for Alarm { member, kind } in query::alarms(&store.tables).unwrap() {
                writeln!(out, "member={} {kind}", member.0).unwrap();
            }
        }
        "lease" => {
            let id = LeaseId(line.word(0));
            let ttl = query::lease_ttl(&store.tables, id).unwrap().unwrap_or(0);
            let keys = query::lease_keys(&store.tables, id).unwrap();
            let keys: Vec<String> = keys.iter().map(|key| text(key)).collect();
            write!(out, "granted={ttl} keys={}", keys.join(",")).unwrap();
        }
        "hash" => {
            let revision = if line.words().is_empty() {
                0
            } else {
                line.word(0)
            };
            let hash = answered(query::hash_kv(&store.tables, store.at(), revision))?;
            write!(
                out,
                "hash={} compacted={}",
                hash.hash, hash.compact_revision
            )
            .unwrap();
        }
        "changes" => {
            let (from, at) = (line.word(0), store.at());
            let found = query::changes(&store.tables, at, from, at.revision).unwrap();
            match found {
                Ok(found) => found
                    .changes
                    .iter()
                    .for_each(|change| print_change(&mut out, change)),
                Err(compacted) => writeln!(out, "compacted at {}", compacted.0).unwrap(),
            }
        }
        "rows" => print_rows(&mut out, store),
        other => panic!("{}: {other}?", line.at),
    }
    Ok(out)
}

fn parse_alarm(line: &Line) -> Alarm {
    let kind = match line.words()[1].as_str() {
        "NOSPACE" => AlarmKind::NoSpace,
        "CORRUPT" => AlarmKind::Corrupt,
        other => panic!("{}: alarm {other}?", line.at),
    };
    Alarm {
        member: MemberId(line.word(0)),
        kind,
    }
}

/// The history that is stored, which is listed once more.
fn print_rows(out: &mut String, store: &Store) {
    let events = store.rows(Table::Events);
    let (past, latest) = (store.rows(Table::Versions), store.rows(Table::Current));
    assert_eq!(events.len(), past.len() + latest.len());
    for (key, row) in events {
        let revision = codec::decode_revision(&key).unwrap();
        let event = codec::decode_event(revision, &row).unwrap();
        let deleted = match &event {
            EventRow::Put(_) => "",
            EventRow::Tombstone { .. } => " deleted",
        };
        let Revision { main, sub } = revision;
        writeln!(out, "{main}.{sub} {}{deleted}", text(event.key())).unwrap();
    }
}

fn answered<T>(result: Result<T, QueryError>) -> Result<T, Error> {
    result.map_err(|error| match error {
        QueryError::Request(error) => error,
        QueryError::Fault(fault) => panic!("{fault}"),
    })
}

fn apply(store: &mut Store, out: &mut String, command: Command) -> Result<(), Error> {
    let outcome = store.apply(command).outcome;
    let revision = outcome.revision;
    match outcome.result? {
        Reply::Put(reply) => {
            writeln!(out, "revision={revision}").unwrap();
            print_prev(out, "", reply.prev_kv.as_slice());
        }
        Reply::DeleteRange(reply) => {
            writeln!(out, "revision={revision} deleted={}", reply.deleted).unwrap();
            print_prev(out, "", &reply.prev_kvs);
        }
        Reply::Txn(reply) => print_txn(out, "", revision, &reply),
        Reply::LeaseGrant { id, ttl } => {
            writeln!(out, "revision={revision} id={} ttl={ttl}", id.0).unwrap();
        }
        Reply::AlarmRaise(_) | Reply::AlarmDisarm(Some(_)) => {
            writeln!(out, "revision={revision}").unwrap();
        }
        Reply::AlarmDisarm(None) => writeln!(out, "not raised").unwrap(),
        Reply::Downgrade(target) => {
            let target = target.unwrap_or_default();
            writeln!(out, "revision={revision} target={target}").unwrap();
        }
        Reply::Compact
        | Reply::LeaseRevoke
        | Reply::V2(..)
        | Reply::V2Auth(_)
        | Reply::Done
        | Reply::Authenticated { .. } => {
            writeln!(out, "revision={revision}").unwrap();
        }
    }
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn show(kv: &KeyValue) -> String {
    let KeyValue {
        create_revision,
        mod_revision,
        version,
        lease,
        ..
    } = kv;
    let mut out = format!(
        "{}=\"{}\" create={create_revision} mod={mod_revision} version={version}",
        text(&kv.key),
        text(&kv.value)
    );
    if *lease != LeaseId::NONE {
        write!(out, " lease={}", lease.0).unwrap();
    }
    out
}

fn print_prev(out: &mut String, indent: &str, kvs: &[KeyValue]) {
    for kv in kvs {
        writeln!(out, "{indent}  prev {}", show(kv)).unwrap();
    }
}

fn print_range(out: &mut String, indent: &str, revision: i64, reply: &RangeReply) {
    let more = if reply.more { " more" } else { "" };
    writeln!(out, "revision={revision} count={}{more}", reply.count).unwrap();
    for kv in &reply.kvs {
        writeln!(out, "{indent}  {}", show(kv)).unwrap();
    }
}

fn print_txn(out: &mut String, indent: &str, revision: i64, reply: &TxnReply) {
    let verdict = if reply.succeeded {
        "succeeded"
    } else {
        "failed"
    };
    writeln!(out, "revision={revision} {verdict}").unwrap();
    let inner = format!("{indent}  ");
    for (response, revision) in reply.responses.iter().zip(&reply.revisions) {
        out.push_str(&inner);
        match response {
            OpReply::Range(reply) => {
                out.push_str("get ");
                print_range(out, &inner, *revision, reply);
            }
            OpReply::Put(reply) => {
                writeln!(out, "put revision={revision}").unwrap();
                print_prev(out, &inner, reply.prev_kv.as_slice());
            }
            OpReply::DeleteRange(reply) => {
                writeln!(out, "del revision={revision} deleted={}", reply.deleted).unwrap();
                print_prev(out, &inner, &reply.prev_kvs);
            }
            OpReply::Txn(reply) => {
                out.push_str("txn ");
                print_txn(out, &inner, *revision, reply);
            }
        }
    }
}

fn print_change(out: &mut String, change: &KeyChange) {
    match change.kind {
        ChangeKind::Put => writeln!(out, "put {}", show(&change.kv)),
        ChangeKind::Delete => {
            let KeyValue {
                key, mod_revision, ..
            } = &change.kv;
            writeln!(out, "delete {} mod={mod_revision}", text(key))
        }
    }
    .unwrap();
    print_prev(out, "", change.prev_kv.as_slice());
}

// Parsing. A word stands for its bytes, `\0` for a zero byte.

fn bytes(word: String) -> Bytes {
    Bytes::from(word.replace("\\0", "\0"))
}

fn parse_key_range(line: &Line) -> KeyRange {
    let end: String = line.or("end", String::new());
    KeyRange::of(bytes(line.word(0)), bytes(end))
}

fn parse_put(line: &Line) -> PutRequest {
    PutRequest {
        key: bytes(line.word(0)),
        value: bytes(line.or("value", String::new())),
        lease: LeaseId(line.or("lease", 0)),
        prev_kv: line.flag("prev"),
        ignore_value: line.flag("ignore-value"),
        ignore_lease: line.flag("ignore-lease"),
    }
}

fn parse_delete(line: &Line) -> DeleteRangeRequest {
    DeleteRangeRequest {
        range: parse_key_range(line),
        prev_kv: line.flag("prev"),
    }
}

fn parse_range(line: &Line) -> RangeRequest {
    let sort: String = line.or("sort", "key".into());
    let order: String = line.or("order", "none".into());
    RangeRequest {
        range: parse_key_range(line),
        limit: line.or("limit", 0),
        revision: line.or("rev", 0),
        sort_order: match order.as_str() {
            "none" => SortOrder::None,
            "ascend" => SortOrder::Ascend,
            "descend" => SortOrder::Descend,
            other => panic!("{}: {other}?", line.at),
        },
        sort_target: match sort.as_str() {
            "key" => SortTarget::Key,
            "version" => SortTarget::Version,
            "create" => SortTarget::Create,
            "mod" => SortTarget::Mod,
            "value" => SortTarget::Value,
            other => panic!("{}: {other}?", line.at),
        },
        serializable: line.flag("serializable"),
        keys_only: line.flag("keys-only"),
        count_only: line.flag("count-only"),
        min_mod_revision: line.or("min-mod", 0),
        max_mod_revision: line.or("max-mod", 0),
        min_create_revision: line.or("min-create", 0),
        max_create_revision: line.or("max-create", 0),
    }
}

type Lines<'a> = std::iter::Peekable<std::str::Lines<'a>>;

/// The lines of a transaction, indented by two blanks a level: `if` compares, `then` and `else`
/// are operations; those of `then txn` follow one level deeper.
fn parse_txn(lines: &mut Lines<'_>, depth: usize, at: &str) -> TxnRequest {
    let mut txn = TxnRequest::default();
    let indent = "  ".repeat(depth);
    while let Some(rest) = lines.peek().and_then(|line| line.strip_prefix(&indent)) {
        assert!(!rest.starts_with(' '), "{at}: indented too deep: {rest:?}");
        lines.next();
        let (kind, op) = rest.split_once(' ').unwrap_or((rest, ""));
        let line = transcript::parse(op, String::new(), at.into());
        if kind == "if" {
            txn.compare.push(parse_compare(&line));
            continue;
        }
        let op = match line.name.as_str() {
            "get" => Op::Range(parse_range(&line)),
            "put" => Op::Put(parse_put(&line)),
            "del" => Op::DeleteRange(parse_delete(&line)),
            "txn" => Op::Txn(parse_txn(lines, depth + 1, at)),
            other => panic!("{at}: {other}?"),
        };
        match kind {
            "then" => txn.success.push(op),
            "else" => txn.failure.push(op),
            other => panic!("{at}: {other}?"),
        }
    }
    txn
}

/// `if value KEY is|not|above|below VALUE [end=KEY]`
fn parse_compare(line: &Line) -> Compare {
    let end: String = line.or("end", String::new());
    let op: String = line.word(1);
    let operand: String = line.word(2);
    let number = || operand.parse().unwrap();
    Compare {
        range: KeyRange::of(bytes(line.word(0)), bytes(end)),
        op: match op.as_str() {
            "is" => CompareOp::Equal,
            "not" => CompareOp::NotEqual,
            "above" => CompareOp::Greater,
            "below" => CompareOp::Less,
            other => panic!("{}: {other}?", line.at),
        },
        target: match line.name.as_str() {
            "version" => CompareTarget::Version(number()),
            "create" => CompareTarget::Create(number()),
            "mod" => CompareTarget::Mod(number()),
            "lease" => CompareTarget::Lease(LeaseId(number())),
            "value" => CompareTarget::Value(bytes(operand.clone())),
            other => panic!("{}: {other}?", line.at),
        },
    }
}
