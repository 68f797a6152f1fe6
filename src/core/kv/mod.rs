//! The multi-version key space: what one main revision writes, reads of any revision, and the
//! removal of history.
//!
//! # Glossary
//! - *version of a key*: one put of it, stored whole in `Events` at its revision; a *tombstone* is
//!   a delete, stored there too.
//! - *live at r*: the newest version or tombstone of a key not after revision `r` is a version.
//! - *compacted at c*: reads below `c` are refused, and history that no read from `c` on can see
//!   is removed beside the traffic ([`compaction`]).

pub mod compaction;
pub mod history;
pub mod index;
pub mod live;
pub mod range;
pub mod txn;
pub mod write;
