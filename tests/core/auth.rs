//! Users, roles, permissions and the judge: laws against a naive model, stored bytes, transcripts.

#[path = "kv/store.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod store;
#[path = "transcript/mod.rs"]
mod transcript;

#[path = "auth/alarm.rs"]
mod alarm;
#[path = "auth/codec.rs"]
mod codec;
#[path = "auth/generate.rs"]
mod generate;
#[path = "auth/model.rs"]
mod model;
#[path = "auth/properties.rs"]
mod properties;
#[path = "auth/transcripts.rs"]
mod transcripts;
#[path = "auth/watch.rs"]
mod watch;
