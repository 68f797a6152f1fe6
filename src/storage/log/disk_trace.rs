//! What the log writes to its files, as trace events of the target that the raft room
//! uses, too: the simulator compares them with what its disks really hold. Where nobody listens
//! they cost a load and a branch.

use super::Position;
use tracing::{Level, enabled, trace};

const TARGET: &str = "detcd::step";

/// Entries from `first` to `last` stand in the file, not yet synced.
pub(super) fn entries_written(first: u64, last: Position, file: impl FnOnce() -> String) {
    if !enabled!(target: TARGET, Level::TRACE) {
        return;
    }
    let file = file();
    trace!(target: TARGET, first, index = last.index, term = last.term, file, "written");
}

/// A vote stands in the file, not yet synced. `hash` is of its bytes, as the caller gave them.
pub(super) fn vote_written(vote: &[u8], file: &str) {
    if !enabled!(target: TARGET, Level::TRACE) {
        return;
    }
    // FNV-1a: the same in every build, unlike the standard library's hasher.
    let hash = vote.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    trace!(target: TARGET, hash, file, "vote written");
}
