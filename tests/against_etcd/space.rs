//! The space of deleted and compacted keys.
