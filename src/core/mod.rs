//! The decisions of detcd.
//!
//! This crate decides and does nothing: it is `no_std`, and has no IO, no async, no clock, no
//! randomness and no logging. Time, seeds and ids are arguments. Three things live here:
//!
//! - [`machine::Machine`]: the replicated state. `apply` turns a committed command and a
//!   [`view::View`] of the stored rows into a reply, the rows to write and the changes for
//!   watchers. Equal logs give equal rows on every member.
//! - [`node::Node`]: the shell of one member. `handle(now, event)` takes what happened,
//!   `poll()` gives what must be done (drain it to `None` before waiting for more), and
//!   `deadline()` says when `handle(now, Event::Tick)` is due at the latest.
//! - [`query`]: reads, as pure functions of a view and a request, so that they run on any thread
//!   beside apply.
//!
//! Validation stands in [`validate`] alone and serves every protocol.
//!
//! # Glossary
//! - *revision*: the number of a change of the key space ([`api::Revision`]); *version*: how often
//!   a key was written since it was created; *index*: the position of an entry in the raft log;
//!   *term*: raft's term.
#![no_std]

extern crate alloc;

pub mod alarm;
pub mod api;
pub mod auth;
pub mod backend;
pub mod codec;
pub mod command;
mod display;
pub mod downgrade;
pub mod effect;
pub mod encoding;
pub mod error;
pub mod event;
pub mod go;
pub mod hash;
pub mod kv;
pub mod lease;
pub mod limits;
pub mod machine;
pub mod membership;
pub mod mutants;
pub mod node;
pub mod overlay;
pub mod percent;
pub mod proposal;
mod protobuf;
pub mod query;
pub mod quota;
pub mod restore;
pub mod status;
pub mod url;
pub mod v2;
pub mod validate;
pub mod view;
pub mod watch;

pub use kv::compaction;
