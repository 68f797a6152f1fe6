//! Operations to text.

use super::{COMPARE_OPS, SORT_ORDERS, SORT_TARGETS};
use crate::history::Request;
use detcd_core::api::{
    Compare, CompareTarget, DeleteRangeRequest, KeyRange, LeaseId, Op, PutRequest, RangeRequest,
    SortTarget, TxnRequest,
};
use std::fmt;

/// A request in the words of this language.
pub struct Shown<'a> {
    pub request: &'a Request,
    /// See [`super::Line::from_newest`].
    pub from_newest: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.request {
            Request::Range(get) => write_get(f, get),
            Request::Put(put) => write_put(f, put),
            Request::Delete(delete) => write_delete(f, delete),
            Request::Txn(txn) => write_txn(f, txn),
            Request::LeaseGrant { id, ttl } => write!(f, "grant {:x} {ttl}", id.0),
            Request::LeaseRevoke { id } => write!(f, "revoke {:x}", id.0),
            Request::Compact(compact) => {
                match (self.from_newest, compact.revision) {
                    (false, revision) => write!(f, "compact {revision}")?,
                    (true, 0) => write!(f, "compact newest")?,
                    (true, offset) => write!(f, "compact newest{offset:+}")?,
                }
                write_flag(f, "physical", compact.physical)
            }
        }
    }
}

fn write_flag(f: &mut fmt::Formatter<'_>, word: &str, set: bool) -> fmt::Result {
    match set {
        true => write!(f, " {word}"),
        false => Ok(()),
    }
}

fn write_number(f: &mut fmt::Formatter<'_>, name: &str, number: i64) -> fmt::Result {
    match number {
        0 => Ok(()),
        number => write!(f, " {name}={number}"),
    }
}

fn write_get(f: &mut fmt::Formatter<'_>, get: &RangeRequest) -> fmt::Result {
    write!(f, "get {}", Range(&get.range))?;
    write_number(f, "limit", get.limit)?;
    write_number(f, "rev", get.revision)?;
    write_flag(f, "serializable", get.serializable)?;
    write_flag(f, "keys", get.keys_only)?;
    write_flag(f, "count", get.count_only)?;
    if get.sort_target != SortTarget::Key {
        let target = name_of(&SORT_TARGETS, &get.sort_target).expect("all targets are named");
        write!(f, " sort={target}")?;
    }
    if let Some(order) = name_of(&SORT_ORDERS, &get.sort_order) {
        write!(f, " {order}")?;
    }
    write_number(f, "min-mod", get.min_mod_revision)?;
    write_number(f, "max-mod", get.max_mod_revision)?;
    write_number(f, "min-create", get.min_create_revision)?;
    write_number(f, "max-create", get.max_create_revision)
}

fn write_put(f: &mut fmt::Formatter<'_>, put: &PutRequest) -> fmt::Result {
    write!(f, "put {} {}", Word(&put.key), Word(&put.value))?;
    if put.lease != LeaseId::NONE {
        write!(f, " lease={:x}", put.lease.0)?;
    }
    write_flag(f, "prev", put.prev_kv)?;
    write_flag(f, "keep-value", put.ignore_value)?;
    write_flag(f, "keep-lease", put.ignore_lease)
}

fn write_delete(f: &mut fmt::Formatter<'_>, delete: &DeleteRangeRequest) -> fmt::Result {
    write!(f, "delete {}", Range(&delete.range))?;
    write_flag(f, "prev", delete.prev_kv)
}

fn write_txn(f: &mut fmt::Formatter<'_>, txn: &TxnRequest) -> fmt::Result {
    f.write_str("txn")?;
    if !txn.compare.is_empty() {
        f.write_str(" if")?;
    }
    for Compare { range, op, target } in &txn.compare {
        let op = name_of(&COMPARE_OPS, op).expect("all are named");
        write!(f, " {} ", Range(range))?;
        match target {
            CompareTarget::Version(version) => write!(f, "version {op} {version}")?,
            CompareTarget::Create(revision) => write!(f, "create {op} {revision}")?,
            CompareTarget::Mod(revision) => write!(f, "mod {op} {revision}")?,
            CompareTarget::Value(value) => write!(f, "value {op} {}", Word(value))?,
            CompareTarget::Lease(lease) => write!(f, "lease {op} {:x}", lease.0)?,
        }
    }
    for (word, ops) in [("then", &txn.success), ("else", &txn.failure)] {
        if !ops.is_empty() {
            write!(f, " {word}")?;
        }
        for op in ops {
            f.write_str(" ( ")?;
            match op {
                Op::Range(get) => write_get(f, get)?,
                Op::Put(put) => write_put(f, put)?,
                Op::DeleteRange(delete) => write_delete(f, delete)?,
                Op::Txn(txn) => write_txn(f, txn)?,
            }
            f.write_str(" )")?;
        }
    }
    Ok(())
}

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> Option<&'static str> {
    let found = names.iter().find(|(_, known)| known == value);
    found.map(|(name, _)| *name)
}

/// Bytes as one word.
struct Word<'a>(&'a [u8]);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(f, self.0, |_| false)
    }
}

/// A key as one word, whose dots are not taken for a range's.
struct Key<'a>(&'a [u8]);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_dot = |place: usize| self.0.get(place).is_none_or(|byte| *byte == b'.');
        write_word(f, self.0, |place| {
            is_dot(place) && (place == 0 || is_dot(place - 1) || is_dot(place + 1))
        })
    }
}

fn write_word(
    f: &mut fmt::Formatter<'_>,
    bytes: &[u8],
    escapes: impl Fn(usize) -> bool,
) -> fmt::Result {
    // These words stand for themselves.
    const WORDS: [&[u8]; 4] = [b"then", b"else", b"(", b")"];
    if bytes.is_empty() {
        return f.write_str("\"\"");
    }
    for (place, byte) in bytes.iter().enumerate() {
        let plain = byte.is_ascii_graphic() && ![b'\\', b'"'].contains(byte);
        match plain && !escapes(place) && !WORDS.contains(&bytes) {
            true => write!(f, "{}", char::from(*byte))?,
            false => write!(f, "\\x{byte:02x}")?,
        }
    }
    Ok(())
}

struct Range<'a>(&'a KeyRange);

impl fmt::Display for Range<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            KeyRange::One(key) => write!(f, "{}", Key(key)),
            KeyRange::Span { start, end: None } => write!(f, "{}..", Key(start)),
            KeyRange::Span {
                start,
                end: Some(end),
            } => write!(f, "{}..{}", Key(start), Key(end)),
        }
    }
}
