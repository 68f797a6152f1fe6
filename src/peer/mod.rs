//! The transport between members: encoded bytes in, encoded bytes out. Production carries them
//! over tonic, the simulator over its own network.

pub mod frame;
#[cfg(feature = "tonic")]
pub mod tonic;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};
use futures::stream::BoxStream;
use std::time::Duration;
use thiserror::Error;

/// What a message is about; the receiver's rooms share one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    AppendEntries = 1,
    Vote = 2,
    PreVote = 3,
    TransferLeader = 4,
    /// Stream: a snapshot.
    Snapshot = 5,
    /// Proposals forwarded to the leader, in a batch.
    Propose = 6,
    /// A read index, asked of the leader.
    ReadIndex = 7,
    /// Keepalive or time-to-live, asked of the leader.
    Lease = 8,
    /// A change of the membership, asked of the leader.
    Members = 9,
    /// A member that starts asks whether it is known.
    Greeting = 10,
    /// A follower asks its leader what it has acknowledged.
    Acknowledged = 11,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 11] = [
        Kind::AppendEntries,
        Kind::Vote,
        Kind::PreVote,
        Kind::TransferLeader,
        Kind::Snapshot,
        Kind::Propose,
        Kind::ReadIndex,
        Kind::Lease,
        Kind::Members,
        Kind::Greeting,
        Kind::Acknowledged,
    ];

    /// The kind with this tag, or `None` for a tag that no version knows.
    pub fn from_tag(tag: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == tag)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TransportError {
    /// The message never left: the peer cannot have seen it.
    #[error("peer {0:x} is unreachable: {1}")]
    Unreachable(u64, String),
    /// The message may or may not have been handled.
    #[error("no answer from peer {0:x}: {1}")]
    Lost(u64, String),
    /// The peer answered that it will not handle the message.
    #[error("peer {0:x} refused: {1}")]
    Refused(u64, String),
}

/// Sends to other members. Messages of one sender to one peer are not ordered among each other.
pub trait Transport: Send + Sync + 'static {
    /// Where a member listens (peer URLs). Unknown members are unreachable.
    fn set_peer(&self, id: u64, peer_urls: Vec<String>);
    /// Forgets a member: from now on it is unknown.
    fn remove_peer(&self, id: u64);
    fn call(
        &self,
        to: u64,
        kind: Kind,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;
    /// Streams `chunks` (in order, with back-pressure) and gives the peer's answer.
    fn stream(
        &self,
        to: u64,
        kind: Kind,
        chunks: BoxStream<'static, Bytes>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;
    /// Whether a call would reach the peer, as far as is known.
    fn is_connected(&self, _to: u64) -> bool {
        true
    }
    /// Connects at once to a peer that was heard from. Whether calls get through to it now.
    fn reconnect(&self, _to: u64) -> BoxFuture<'static, bool> {
        ready(true).boxed()
    }
}

/// Receives from other members. `Err` is a refusal, told to the sender as its text.
pub trait Receiver: Send + Sync + 'static {
    fn call(&self, from: u64, kind: Kind, body: Bytes)
    -> BoxFuture<'static, Result<Bytes, String>>;
    /// A chunk that is `Err` means that the stream broke before its end.
    fn stream(
        &self,
        from: u64,
        kind: Kind,
        chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> BoxFuture<'static, Result<Bytes, String>>;
    /// Another member has connected to this one: it is there again.
    fn connected(&self, _from: u64) {}
}
