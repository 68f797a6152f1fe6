//! The tree of v2: laws against a naive tree, and transcripts of the tree and of its watchers.

#[path = "kv/store.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod store;
#[path = "transcript/mod.rs"]
mod transcript;

#[path = "v2/model.rs"]
mod model;
#[path = "v2/properties.rs"]
mod properties;
#[path = "v2/transcripts.rs"]
mod transcripts;
