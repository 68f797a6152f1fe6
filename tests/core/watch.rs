//! The watch hub: transcripts of its decisions, the laws that watchers rely on, and its size.

#[path = "watch/properties.rs"]
mod properties;
#[path = "watch/scale.rs"]
mod scale;
// Each subject of the core uses its own part of it.
#[allow(dead_code)]
mod transcript;
#[path = "watch/transcripts.rs"]
mod transcripts;
#[path = "watch/world.rs"]
mod world;
