//! The raft log: segmented files of checksummed frames over [`crate::disk::Disk`].
//!
//! One task, [`LogWriter::run`], does all input and output. It takes everything that was queued
//! meanwhile, writes it as one frame, syncs once, and then calls the completions in order. The
//! [`Log`] handle answers from memory: an entry is readable as soon as [`Log::append`] returns and
//! durable when its completion is called.
//!
//! # What is on disk
//! - `log-<id>.seg`: segments, numbered without gaps. A segment is a header page and then frames;
//!   a frame is what one group commit wrote: a header (sequence number, committed and purged
//!   position) and records (entries, truncations). Bytes after the last frame are zero for at
//!   least the length of a frame header.
//! - `spare-<id>.seg`: segments of purged entries, kept to be written again: their blocks are
//!   already allocated and initialised, so that a sync has no metadata to write.
//! - `vote`: the vote, in two slots written in turn, each twice, and whose log this is.
//! - `synced`: the number of the last frame known to be durable, written without sync after each
//!   sync. It tells a torn tail (never acknowledged, cut off) from rot in the tail (acknowledged,
//!   refused). It comes before everything else and is synced then: a log without it, or with one
//!   that cannot be read, is damaged.
//!
//! # What recovery decides
//! A frame is written only after the one before it was synced. Hence a bad frame is a *torn tail*
//! if nothing valid follows it and `synced` does not cover it: it was never acknowledged and is
//! cut off. Any other bad frame is *corruption* and opening fails, because going on would silently
//! drop entries that others count on. A read error is never taken for the end of the log.
//!
//! Checksums are salted with the segment's number and a number drawn when the log was created:
//! what a recycled segment held before, or what a client stored as a value, is never taken for a
//! frame.
//!
//! # Speed
//! `examples/measure.rs`, 256-byte records, one append in flight, profile `sim`, two cores shared
//! with other builds (load 5 to 6), on tmpfs, so without the disk's own time: 23 to 40 k records/s
//! at 1 a frame (p50 12 us), 326 to 372 k at 16, 0.76 to 1.3 M at 128 (p50 33 us). On a disk the
//! sync is what remains: one for every frame, whatever its size.
//!
//! # Glossary
//! *index*, *term*: raft's; *position*: both together; *sequence*: the number of a frame;
//! *purged*: removed from the front, because a snapshot covers it; *truncated*: removed from the
//! end, because a new leader overruled it.

mod disk_trace;
mod error;
mod format;
mod handle;
mod index;
mod note;
mod reader;
mod recovery;
mod segments;
mod small_files;
mod vote;
mod writer;

pub use error::LogError;
pub use handle::{Done, Log, Receipt};
pub use writer::LogWriter;

use crate::disk::Disk;
use bytes::Bytes;
use std::fmt;

/// An entry of the raft log.
#[derive(Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub term: u64,
    pub index: u64,
    pub payload: Bytes,
}

impl LogEntry {
    pub fn position(&self) -> Position {
        Position {
            term: self.term,
            index: self.index,
        }
    }
}

impl fmt::Debug for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.payload.slice(..self.payload.len().min(24));
        write!(
            f,
            "{}/{} {head:?} of {} bytes",
            self.term,
            self.index,
            self.payload.len()
        )
    }
}

/// Where an entry stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub term: u64,
    pub index: u64,
}

/// What the log holds: entries after `purged` up to and including `last`. If all of it was purged,
/// `last` equals `purged`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    pub purged: Option<Position>,
    pub last: Option<Position>,
}

/// What [`Log::open`] found on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    pub state: LogState,
    /// The vote that was saved last, in the caller's own encoding.
    pub vote: Option<Bytes>,
    /// The committed position that was last saved with a sync. The true one may be higher.
    pub committed: Option<Position>,
    /// What was cut off, if the last write before the crash was incomplete.
    pub torn: Option<Torn>,
    /// The number that was drawn when this log was created: another one is another log.
    pub salt: u64,
}

/// A torn tail that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    pub file: String,
    pub offset: u64,
    pub dropped_bytes: u64,
}

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOwner {
    pub cluster_id: u64,
    pub member_id: u64,
}

impl LogOwner {
    const NOBODY: LogOwner = LogOwner {
        cluster_id: 0,
        member_id: 0,
    };

    fn new(cluster_id: u64, member_id: u64) -> Option<LogOwner> {
        let owner = LogOwner {
            cluster_id,
            member_id,
        };
        (owner != LogOwner::NOBODY).then_some(owner)
    }
}

impl fmt::Display for LogOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "member {:x} of cluster {:x}",
            self.member_id, self.cluster_id
        )
    }
}

/// Sizes of a log, and whose it is.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The length to which a segment is preallocated. A frame that is longer gets a segment of
    /// its own length.
    pub segment_bytes: u64,
    /// Entries kept in memory, newest first, counted by payload. Entries that are not yet durable
    /// are kept beyond it.
    pub cache_bytes: usize,
    /// Payload after which a group commit is closed. It may exceed this by one append.
    pub frame_bytes: usize,
    /// Purged segments kept for reuse.
    pub spare_segments: usize,
    /// Drawn at random by the caller; used when the log is created, ignored afterwards.
    pub salt: u64,
    /// A log of somebody else is refused; `None` takes any.
    pub owner: Option<LogOwner>,
}

impl LogOptions {
    pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
    pub const CACHE_BYTES: usize = 16 * 1024 * 1024;
    pub const FRAME_BYTES: usize = 4 * 1024 * 1024;
    pub const SPARE_SEGMENTS: usize = 1;

    pub fn new(salt: u64) -> LogOptions {
        LogOptions {
            segment_bytes: LogOptions::SEGMENT_BYTES,
            cache_bytes: LogOptions::CACHE_BYTES,
            frame_bytes: LogOptions::FRAME_BYTES,
            spare_segments: LogOptions::SPARE_SEGMENTS,
            salt,
            owner: None,
        }
    }
}

impl Log {
    /// Opens the log in `disk`, or creates it if the folder holds none. Nothing is written or
    /// acknowledged until [`LogWriter::run`] is driven.
    pub async fn open<D: Disk>(
        disk: D,
        options: LogOptions,
    ) -> Result<(Log, LogWriter<D>, Recovered), LogError> {
        let recovery = recovery::recover(disk, &options).await?;
        let log = Log::new(&recovery, options.cache_bytes);
        let found = recovery.found.clone();
        let writer = LogWriter::new(options, log.shared(), recovery);
        Ok((log, writer, found))
    }

    /// Whose log `disk` holds, as far as it says so; opens and changes nothing.
    pub async fn owner<D: Disk>(disk: &D) -> Result<Option<LogOwner>, LogError> {
        let (vote, _) = vote::VoteFile::load(disk).await?;
        Ok(vote.stamp().and_then(|stamp| stamp.owner))
    }
}
