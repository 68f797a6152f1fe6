//! The way onto the network, the same for servers and clients: one [`Listener`], one [`Dialer`] and
//! one [`Stream`], over TCP and Unix sockets.
//!
//! [`address`] says where to listen and whom to dial, [`bind`] opens a listening socket, [`limit`]
//! bounds the connections of a port, [`batch`] joins the writes of a connection, [`filter`] is a
//! stream whose incoming bytes pass something first ([`first_bytes`] ends those that stay silent),
//! [`message`] hands on gRPC messages that are whole, [`tls`] holds the files and handshakes of TLS,
//! which is one more case of [`Stream`], and [`limits`] holds every limit and timeout. Nothing here
//! knows what is said over a connection.

mod address;
mod batch;
mod bind;
mod dial;
mod filter;
mod first_bytes;
mod limit;
pub mod limits;
mod listen;
pub mod message;
mod stream;
pub mod tls;

pub use address::{Address, AddressError, Place};
pub use batch::{BatchedStream, PendingWrites, Traffic};
pub use bind::{BindError, SocketFile};
pub use dial::{Connector, Dialer};
pub use filter::{Filtered, ReadFilter};
pub use first_bytes::FirstBytes;
pub use limit::{ConnectionLimit, ConnectionPermit};
pub use listen::{Listener, LocalAddress};
pub use stream::Stream;
