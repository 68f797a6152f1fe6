mod bytes;
mod cluster;
mod failing;
mod harness;
mod members;
mod snapshot;
mod sockets;
