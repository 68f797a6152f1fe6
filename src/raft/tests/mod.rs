mod bytes;
mod cluster;
mod harness;
mod snapshot;
mod sockets;
