mod bytes;
mod cluster;
mod failing;
mod harness;
mod snapshot;
mod sockets;
