//! The bytes of v2's rows and writes.
//!
//! ```text
//! "m"                   -> 01 index [dialect]
//! "n" depth:4 path      -> 01 flags created modified [id seconds expiration] value
//! "t" id:8              -> 01 seconds path        (a time-to-live, named by an index)
//! "h" index:8           -> 01 action flags node [node]
//! "a", "u", "r"         -> see [`super::auth`]
//! node                  =  flags key [value] [expiration] ttl modified created
//! ```
//!
//! The depth before the path makes the children of a directory neighbours, without what lies below
//! them; and the nodes of one depth below a directory, too.

use super::auth;
use super::types::{
    Action, Dialect, Event, Operation, ShownNode, UnixNanos, Write, depth, is_clean,
};
use crate::encoding::{Reader, Writer};
use crate::view::Fault;
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;

const FORMAT: u8 = 1;

pub(super) const META_KEY: &[u8] = b"m";
const NODE: u8 = b'n';
/// The dialect of a tree, where it is not the usual one.
const ETCD_02: u8 = 2;
const TTL: u8 = b't';
const EVENT: u8 = b'h';
/// The prefix of all rows of times-to-live, and where they end.
pub(super) const TTLS: (&[u8], &[u8]) = (b"t", b"u");

/// A node as it is stored. A directory has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub value: Option<Bytes>,
    pub ttl: Option<Ttl>,
    pub modified: u64,
    pub created: u64,
}

/// A node's time-to-live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ttl {
    /// The index of the write that set it.
    pub id: u64,
    pub seconds: i64,
    pub expiration: UnixNanos,
}

impl Node {
    pub fn is_dir(&self) -> bool {
        self.value.is_none()
    }
}

/// The dialect stands there unless it is the usual one.
pub(super) fn encode_index(index: u64, dialect: Dialect) -> Bytes {
    let mut out = Writer::with_capacity(12);
    out.u8(FORMAT);
    out.varint(index);
    if dialect == Dialect::Etcd02 {
        out.u8(ETCD_02);
    }
    out.finish()
}

pub(super) fn decode_index(row: &Bytes) -> Result<(u64, Dialect), Fault> {
    let mut reader = Reader::new("index of the v2 tree", row);
    reader.version(FORMAT)?;
    let index = reader.varint()?;
    let dialect = match reader.is_empty() {
        true => Dialect::Etcd34,
        false if reader.u8()? == ETCD_02 => Dialect::Etcd02,
        false => return Err(reader.error("unknown dialect").into()),
    };
    reader.end()?;
    Ok((index, dialect))
}

/// The key of a node's row.
pub(super) fn node_key(path: &[u8]) -> Bytes {
    let mut out = level_prefix(depth(path));
    out.extend_from_slice(path);
    Bytes::from(out)
}

/// Where the rows of the nodes begin that lie below `path`, `depth` components from the root.
pub(super) fn below_prefix(path: &[u8], depth: usize) -> Vec<u8> {
    let mut out = level_prefix(depth);
    out.extend_from_slice(path);
    out.push(b'/');
    out
}

fn level_prefix(depth: usize) -> Vec<u8> {
    let depth = u32::try_from(depth).expect("a path is far shorter");
    let mut out = Vec::with_capacity(64);
    out.push(NODE);
    out.extend_from_slice(&depth.to_be_bytes());
    out
}

/// The path in the key of a node's row.
pub(super) fn decode_node_key(key: &Bytes) -> Result<Bytes, Fault> {
    let fault = || Fault(format!("not the key of a v2 node: {key:02x?}"));
    match key.get(1..5) {
        Some(level) if key[0] == NODE => {
            let path = key.slice(5..);
            let is_sound =
                is_clean(&path) && !path.is_empty() && level == (depth(&path) as u32).to_be_bytes();
            is_sound.then_some(path).ok_or_else(fault)
        }
        _ => Err(fault()),
    }
}

pub(super) fn encode_node(node: &Node) -> Bytes {
    let value = node.value.as_deref().unwrap_or_default();
    let mut out = Writer::with_capacity(48 + value.len());
    out.u8(FORMAT);
    out.u8(flags(&[node.is_dir(), node.ttl.is_some()]));
    out.varint(node.created);
    out.varint(node.modified);
    if let Some(ttl) = node.ttl {
        out.varint(ttl.id);
        out.i64(ttl.seconds);
        out.i64(ttl.expiration.0);
    }
    out.slice(value);
    out.finish()
}

pub(super) fn decode_node(row: &Bytes) -> Result<Node, Fault> {
    let mut reader = Reader::new("v2 node", row);
    reader.version(FORMAT)?;
    let [is_dir, has_ttl] = decode_flags(&mut reader)?;
    let (created, modified) = (reader.varint()?, reader.varint()?);
    let ttl = match has_ttl {
        true => Some(Ttl {
            id: reader.varint()?,
            seconds: reader.i64()?,
            expiration: UnixNanos(reader.i64()?),
        }),
        false => None,
    };
    if created == 0 || created > modified {
        return Err(reader.error("indexes that cannot be").into());
    }
    let value = reader.rest();
    if is_dir && !value.is_empty() {
        return Err(reader.error("a directory with a value").into());
    }
    Ok(Node {
        value: (!is_dir).then_some(value),
        ttl,
        modified,
        created,
    })
}

pub(super) fn ttl_key(id: u64) -> Bytes {
    numbered(TTL, id)
}

pub(super) fn event_key(index: u64) -> Bytes {
    numbered(EVENT, index)
}

fn numbered(kind: u8, number: u64) -> Bytes {
    let mut out = Vec::with_capacity(9);
    out.push(kind);
    out.extend_from_slice(&number.to_be_bytes());
    Bytes::from(out)
}

pub(super) fn decode_number(key: &[u8]) -> Result<u64, Fault> {
    let number = key.get(1..).and_then(|number| number.try_into().ok());
    number
        .map(u64::from_be_bytes)
        .ok_or_else(|| Fault(format!("not the key of a v2 row: {key:02x?}")))
}

pub(super) fn encode_ttl(seconds: i64, path: &[u8]) -> Bytes {
    let mut out = Writer::with_capacity(11 + path.len());
    out.u8(FORMAT);
    out.i64(seconds);
    out.slice(path);
    out.finish()
}

/// The seconds, and whose they are.
pub(super) fn decode_ttl(row: &Bytes) -> Result<(i64, Bytes), Fault> {
    let mut reader = Reader::new("time-to-live of a v2 node", row);
    reader.version(FORMAT)?;
    let seconds = reader.i64()?;
    Ok((seconds, reader.rest()))
}

pub(super) fn encode_event(event: &Event) -> Bytes {
    let mut out = Writer::with_capacity(128);
    out.u8(FORMAT);
    out.u8(event.action as u8);
    out.u8(flags(&[event.refresh, event.prev.is_some()]));
    for node in [Some(&event.node), event.prev.as_ref()]
        .into_iter()
        .flatten()
    {
        put_shown(&mut out, node);
    }
    out.finish()
}

pub(super) fn decode_event(row: &Bytes) -> Result<Event, Fault> {
    let mut reader = Reader::new("v2 event", row);
    reader.version(FORMAT)?;
    let tag = reader.u8()?;
    let action = Action::ALL.into_iter().find(|it| *it as u8 == tag);
    let action = action.ok_or_else(|| reader.error("unknown action"))?;
    let [refresh, has_prev] = decode_flags(&mut reader)?;
    let node = read_shown(&mut reader)?;
    let prev = match has_prev {
        true => Some(read_shown(&mut reader)?),
        false => None,
    };
    reader.end()?;
    Ok(Event {
        action,
        node,
        prev,
        refresh,
    })
}

fn put_shown(out: &mut Writer, node: &ShownNode) {
    assert!(node.nodes.is_empty(), "an event lists no directory");
    out.u8(flags(&[
        node.dir,
        node.value.is_some(),
        node.expiration.is_some(),
    ]));
    out.bytes(&node.key);
    if let Some(value) = &node.value {
        out.bytes(value);
    }
    if let Some(expiration) = node.expiration {
        out.i64(expiration.0);
    }
    out.i64(node.ttl);
    out.varint(node.modified);
    out.varint(node.created);
}

fn read_shown(reader: &mut Reader<'_>) -> Result<ShownNode, Fault> {
    let [dir, has_value, expires] = decode_flags(reader)?;
    let key = reader.bytes()?;
    let value = match has_value {
        true => Some(reader.bytes()?),
        false => None,
    };
    let expiration = match expires {
        true => Some(UnixNanos(reader.i64()?)),
        false => None,
    };
    Ok(ShownNode {
        key,
        value,
        dir,
        expiration,
        ttl: reader.i64()?,
        nodes: Vec::new(),
        modified: reader.varint()?,
        created: reader.varint()?,
    })
}

/// Whether a row that another member sent can be read.
pub fn check_row(key: &Bytes, row: &Bytes) -> Result<(), Fault> {
    match key.first() {
        _ if key.as_ref() == META_KEY => decode_index(row).map(drop),
        Some(&NODE) => {
            decode_node_key(key)?;
            decode_node(row).map(drop)
        }
        Some(&TTL) => {
            decode_number(key)?;
            decode_ttl(row).map(drop)
        }
        Some(&EVENT) => {
            decode_number(key)?;
            decode_event(row).map(drop)
        }
        Some(&(auth::AUTH | auth::USER | auth::ROLE)) => auth::check_row(key, row),
        _ => Err(Fault(format!("not the key of a v2 row: {key:02x?}"))),
    }
}

/// A write within a command, after who asks for it.
pub fn encode_write(out: &mut Writer, write: &Write) {
    if let Some(asked) = &write.asked {
        auth::encode_asked(out, asked);
    }
    out.u8(write.operation as u8);
    out.u8(flags(&[
        write.dir,
        write.recursive,
        write.refresh,
        write.ttl.is_some(),
        write.dialect == Dialect::Etcd02,
    ]));
    out.i64(write.time.0);
    out.bytes(&write.path);
    out.bytes(&write.value);
    out.bytes(&write.prev_value);
    out.varint(write.prev_index);
    if let Some(ttl) = write.ttl {
        out.varint(ttl);
    }
}

pub fn decode_write(reader: &mut Reader<'_>, is_asked: bool) -> Result<Write, Fault> {
    let asked = match is_asked {
        true => Some(auth::decode_asked(reader)?),
        false => None,
    };
    let tag = reader.u8()?;
    let operation = Operation::ALL.into_iter().find(|it| *it as u8 == tag);
    let operation = operation.ok_or_else(|| reader.error("unknown operation"))?;
    let [dir, recursive, refresh, has_ttl, is_02] = decode_flags(reader)?;
    Ok(Write {
        operation,
        time: UnixNanos(reader.i64()?),
        path: reader.bytes()?,
        value: reader.bytes()?,
        prev_value: reader.bytes()?,
        prev_index: reader.varint()?,
        ttl: match has_ttl {
            true => Some(reader.varint()?),
            false => None,
        },
        dir,
        recursive,
        refresh,
        dialect: match is_02 {
            true => Dialect::Etcd02,
            false => Dialect::Etcd34,
        },
        asked,
    })
}

fn flags(bits: &[bool]) -> u8 {
    let bits = bits.iter().enumerate();
    bits.fold(0, |flags, (at, bit)| flags | u8::from(*bit) << at)
}

/// The lowest `N` bits of a byte that must have no others.
fn decode_flags<const N: usize>(reader: &mut Reader<'_>) -> Result<[bool; N], Fault> {
    let byte = reader.u8()?;
    if byte >> N != 0 {
        return Err(reader.error("unknown flags").into());
    }
    Ok(core::array::from_fn(|at| byte >> at & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn row_bytes_are_pinned() {
        let node = Node {
            value: Some(Bytes::from_static(b"v")),
            ttl: Some(Ttl {
                id: 7,
                seconds: 5,
                expiration: UnixNanos(300),
            }),
            modified: 9,
            created: 7,
        };
        assert_eq!(hex(&node_key(b"/a/b")), "6e000000022f612f62");
        assert_eq!(hex(&encode_node(&node)), "010207090705ac0276");
        assert_eq!(decode_node(&encode_node(&node)), Ok(node.clone()));
        let dir = Node {
            value: None,
            ttl: None,
            ..node
        };
        assert_eq!(hex(&encode_node(&dir)), "01010709");
        assert_eq!(decode_node(&encode_node(&dir)), Ok(dir));
        assert_eq!(hex(&ttl_key(7)), "740000000000000007");
        assert_eq!(hex(&encode_ttl(5, b"/a")), "01052f61");
        let (usual, of_02) = (Dialect::Etcd34, Dialect::Etcd02);
        assert_eq!(hex(&encode_index(300, usual)), "01ac02");
        assert_eq!(hex(&encode_index(300, of_02)), "01ac0202");
        for dialect in [usual, of_02] {
            assert_eq!(
                decode_index(&encode_index(300, dialect)),
                Ok((300, dialect))
            );
        }
        assert!(decode_index(&Bytes::from_static(b"\x01\x05\x03")).is_err());
        let shown = ShownNode {
            key: Bytes::from_static(b"/a"),
            value: Some(Bytes::from_static(b"v")),
            expiration: Some(UnixNanos(300)),
            ttl: 5,
            modified: 9,
            created: 7,
            ..ShownNode::default()
        };
        let event = Event {
            action: Action::Set,
            node: shown.clone(),
            prev: Some(ShownNode {
                dir: true,
                value: None,
                expiration: None,
                ttl: 0,
                ..shown
            }),
            refresh: false,
        };
        assert_eq!(hex(&event_key(9)), "680000000000000009");
        assert_eq!(
            hex(&encode_event(&event)),
            "0103020602\
             2f610176ac02050907\
             01022f61000907"
        );
        assert_eq!(decode_event(&encode_event(&event)), Ok(event));
    }

    #[test]
    fn rows_are_told_from_garbage() {
        let garbage = Bytes::from_static(b"\xff garbage");
        let node = encode_node(&Node {
            value: None,
            ttl: None,
            modified: 1,
            created: 1,
        });
        assert_eq!(check_row(&node_key(b"/a"), &node), Ok(()));
        assert!(check_row(&node_key(b"/a"), &garbage).is_err());
        for key in [
            &b"n"[..],
            b"n\0\0\0\x02/a",
            b"n\0\0\0\x01/",
            b"h12",
            b"t",
            b"x",
            b"mm",
        ] {
            let key = Bytes::copy_from_slice(key);
            assert!(check_row(&key, &node).is_err(), "{key:?}");
        }
        assert!(check_row(&Bytes::from_static(META_KEY), &garbage).is_err());
    }
}
