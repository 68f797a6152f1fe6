//! What is under way.

use super::{Host, Port, digest};
use bytes::Bytes;
use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Request {
        call: u64,
        port: Port,
        kind: u8,
        body: Bytes,
    },
    Answer {
        call: u64,
        body: Bytes,
    },
    Refused {
        call: u64,
    },
    Reset {
        call: u64,
    },
    /// The next message of one direction of a stream tries to get through.
    Stream {
        conn: u64,
        end: usize,
    },
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Packet::Request {
                call,
                port,
                kind,
                body,
            } => {
                write!(f, "request {call} {port:?}/{kind} {}", digest(body))
            }
            Packet::Answer { call, body } => write!(f, "answer {call} {}", digest(body)),
            Packet::Refused { call } => write!(f, "refused {call}"),
            Packet::Reset { call } => write!(f, "reset {call}"),
            Packet::Stream { conn, end } => write!(f, "stream {conn}.{end}"),
        }
    }
}

/// A packet and when it arrives; the earliest is the greatest, as a heap wants it.
#[derive(Debug)]
pub(crate) struct Due {
    pub at: Duration,
    /// Ties are broken in order of sending.
    pub seq: u64,
    pub path: Option<(Host, Host)>,
    pub packet: Packet,
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> Ordering {
        (other.at, other.seq).cmp(&(self.at, self.seq))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}
