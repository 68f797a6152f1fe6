mod bytes;
mod cluster;
mod failing;
mod forged;
mod harness;
mod members;
mod snapshot;
mod sockets;
