//! Requests of etcd's clients that h2 would reset, and heads that would cost too much.
//!
//! etcd looks at little of a request's head: its clients send whatever stands in an endpoint as the
//! authority, such as `127.0.0.1:2379/` or a socket's path. h2 takes only what a URI may contain,
//! and ends the whole connection for a name with a space in it. Neither has a setting. So a
//! [`Normalizer`] stands between the socket and h2.
//!
//! [`huffman`] and [`hpack`] read header blocks, [`field`] and [`head`] judge and mend them,
//! [`normalizer`] finds them among the frames, [`repeated`] knows those that need no look, [`incoming`] is the filter before h2, and
//! [`bounded`] limits what the heads of a connection's requests hold together.

mod bounded;
mod field;
mod head;
mod hpack;
mod huffman;
mod incoming;
mod normalizer;
mod repeated;
#[cfg(test)]
mod tests;

pub(super) use bounded::{Bounded, Heads, OverTls};
pub(super) use field::is_grpc;
pub(super) use incoming::NormalizingFilter;
