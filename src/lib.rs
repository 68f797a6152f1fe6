//! detcd: an etcd whose every node can run in a deterministic simulator. This crate is the server
//! around it: flags, protocols and programs.

pub mod config;
pub mod ctl;
pub mod daemon;
mod http_client;
mod log_level;
mod members_page;
mod probe;
pub mod server;
mod srv;
pub mod utl;
