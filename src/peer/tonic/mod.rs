//! The production transport: gRPC over the peer URLs.
//!
//! To each peer there is one connection with one bidirectional stream that carries every call
//! ([`client`]); it is kept up whether or not it is used, so that its end is news: calls under way
//! fail at once, and whoever asked is told. A snapshot gets a connection of its own, so that it
//! holds up nothing else. The receiving side ([`server`]) is a tonic service.
//!
//! Both kinds of request say in their metadata who sends, to whom, in which cluster and in which
//! version; the receiver refuses what does not fit.

mod client;
mod codec;
mod identity;
mod server;

#[cfg(test)]
mod tests;

pub use client::{LostHook, TonicTransport};
pub use server::PeerService;

/// The largest message between members: an append of a few MiB, or one huge row of a snapshot.
pub const MESSAGE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Calls on one connection that the receiver works on at once; the next wait.
const CALLS_MAX: usize = 8192;
/// Bytes of those calls. One message always fits.
const CALL_BYTES_MAX: usize = 256 * 1024 * 1024;

const SERVICE: &str = "detcd.Peer";
const PATH_CALLS: &str = "/detcd.Peer/Calls";
const PATH_STREAM: &str = "/detcd.Peer/Stream";
