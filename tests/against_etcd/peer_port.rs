//! Frames on the peer port that no member sends.
