//! Every limit and timeout of connections.

use std::time::Duration;

/// Connections that the kernel keeps before they are accepted.
pub const BACKLOG: u32 = 4096;
/// How often the kernel probes a TCP connection on which nothing is said (as Go does).
pub const PROBE_PERIOD: Duration = Duration::from_secs(15);
/// The pause after a failed accept (too many open files): the listener lives on.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What a client may take to send the head of an HTTP/1 request, and to say which version of HTTP
/// it speaks.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// What a new connection may be silent for, though others wait for its place.
pub const SILENCE_MIN: Duration = Duration::from_secs(1);
/// What a TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client whose handshake was refused is listened to, so that it reads why: what it sent
/// and nobody reads would reset the connection before.
pub const REFUSED_TIMEOUT: Duration = Duration::from_millis(200);
/// What looking up the names of another member's address may take.
pub const REVERSE_LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// What requests under way get when a server stops.
pub const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// What one attempt to reach another member may take.
pub const PEER_DIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// What a client may take to reach an endpoint, its HTTP/2 settings included (grpc's minimum
/// connect timeout).
pub const CLIENT_DIAL_TIMEOUT: Duration = Duration::from_secs(20);
/// The time after which the next address of a name is tried beside the first (as Go does).
pub const NEXT_ADDRESS_DELAY: Duration = Duration::from_millis(300);

/// A connection to another member on which nothing came for this long is asked whether it lives.
pub const PEER_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// A connection to another member that does not answer for this long is dead.
pub const PEER_KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the peer port asks a connection whether it lives, and how long it may take to answer:
/// who sends nothing shall not hold a place for long. (Other members ask more often by themselves.)
pub const PEER_PORT_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
pub const PEER_PORT_KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// HTTP/2's windows on the client port. gRPC requests are up to 1.5 MiB; a window of that order
/// lets one through without a round trip in between.
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
pub const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// HTTP/2's windows between members.
pub const PEER_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Bytes that a response stream may buffer before its producer waits.
pub const SEND_BUFFER_BYTES: usize = 1024 * 1024;
/// Streams of one connection that their client has given up before they were looked at. Beyond it
/// the whole connection is cut off, with every watch on it, so it must lie above what honest clients
/// do: a client whose calls time out gives up a stream for each, by the hundred while the machine is
/// busy. (grpc-go has no such limit; h2's own is 20.) One of them holds a few hundred bytes.
pub const STREAMS_GIVEN_UP_MAX: usize = 64 * 1024;
/// Streams of one connection, over its life, that were reset because of what their client sent,
/// such as the rest of a message that had been refused. Beyond it the connection is cut off. The
/// work of a stream that is reset ends with it, so they cost nobody more than other calls do.
pub const STREAMS_RESET_MAX: usize = 64 * 1024;
/// The head of a client's HTTP/2 request (16 MiB are grpc-go's default as well): metadata may be
/// long.
pub const HEAD_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// The head of another member's request, which has a few short fields.
pub const PEER_HEAD_BYTES_MAX: u32 = 64 * 1024;

/// What a gRPC message may take from its first byte to its last, beside what its length takes.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// What a message may have as JSON for each byte that it may have otherwise: base64 makes four bytes
/// of three, and there are names and quotes.
pub const JSON_BYTES_PER_BYTE: usize = 2;
/// The slowest connection over which a client's message may come.
pub const BYTES_PER_SECOND_MIN: usize = 10 * 1024;
/// The slowest connection over which another member's message may come.
pub const PEER_BYTES_PER_SECOND_MIN: usize = 256 * 1024;
/// What the calls of a port may have received of messages that are not whole, together.
pub const UNFINISHED_BYTES_MAX: usize = 512 * 1024 * 1024;
