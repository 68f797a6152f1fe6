//! The key space: laws against a naive model, stored bytes, and transcripts, some of which were
//! recorded from etcd.

#[path = "kv/borders.rs"]
mod borders;
#[path = "kv/codec.rs"]
mod codec;
#[path = "kv/compaction.rs"]
mod compaction;
#[path = "kv/generate.rs"]
mod generate;
#[path = "kv/index.rs"]
mod index;
#[path = "kv/members.rs"]
mod members;
#[path = "kv/model.rs"]
mod model;
#[path = "kv/overlay.rs"]
mod overlay;
#[path = "kv/properties.rs"]
mod properties;
#[path = "kv/restore.rs"]
mod restore;
#[path = "kv/store.rs"]
mod store;
#[path = "transcript/mod.rs"]
mod transcript;
#[path = "kv/transcripts.rs"]
mod transcripts;
#[path = "kv/validate.rs"]
mod validate;
