//! What is under way.

use super::{Head, Host, Port};
use crate::{record, trace};
use bytes::Bytes;
use std::cmp::Ordering;
use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Request {
        call: u64,
        port: Port,
        head: Head,
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
    /// A keepalive of a stream of which one side knows nothing any more stays unanswered.
    Unanswered {
        conn: u64,
    },
}

impl Packet {
    /// What can be damaged on the way.
    pub(crate) fn body(&mut self) -> Option<&mut Bytes> {
        match self {
            Packet::Request { body, .. } | Packet::Answer { body, .. } => Some(body),
            Packet::Refused { .. }
            | Packet::Reset { .. }
            | Packet::Stream { .. }
            | Packet::Unanswered { .. } => None,
        }
    }
}

impl Packet {
    /// What the trace says of it.
    pub(crate) fn seen(&self) -> Seen<'_> {
        let empty = &[];
        let (what, way, number, body): (_, _, _, &[u8]) = match self {
            Packet::Request {
                call,
                port,
                head,
                body,
            } => ("request", Some((*port, head.kind)), *call, body),
            Packet::Answer { call, body } => ("answer", None, *call, body),
            Packet::Refused { call } => ("refused", None, *call, empty),
            Packet::Reset { call } => ("reset", None, *call, empty),
            Packet::Stream { conn, .. } => ("stream", None, *conn, empty),
            Packet::Unanswered { conn } => ("unanswered", None, *conn, empty),
        };
        Seen {
            what,
            way,
            number,
            body,
        }
    }
}

/// A packet as an event of the trace.
pub(crate) struct Seen<'a> {
    pub what: &'static str,
    /// The port and the kind, where the packet says them.
    pub way: Option<(Port, u8)>,
    /// Of its call, or of its stream.
    pub number: u64,
    pub body: &'a [u8],
}

impl Seen<'_> {
    /// `sent` is when it was put on the wire, `why` what stopped it.
    pub(crate) fn record(&self, kind: &str, (from, to): (Host, Host), sent: Duration, why: &str) {
        let (port, method) = match self.way {
            Some((Port::Peer, kind)) => ("peer", kind),
            Some((Port::Client, kind)) => ("client", kind),
            None => ("", 0),
        };
        record!(
            kind,
            what = self.what,
            number = self.number,
            from = from.0,
            to = to.0,
            sent = sent.as_nanos() as u64,
            port = port,
            method = method,
            bytes = self.body.len(),
            hash = trace::hash(self.body),
            why = why,
        );
    }
}

/// A packet and when it arrives; the earliest is the greatest, as a heap wants it.
#[derive(Debug)]
pub(crate) struct Due {
    pub at: Duration,
    /// Ties are broken in order of sending.
    pub seq: u64,
    pub sent: Duration,
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
