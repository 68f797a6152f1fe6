//! Long keys.
