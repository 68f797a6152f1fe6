//! How many file descriptors storage needs: what is left of the process's limit is for connections.

use crate::log::LogOptions;

/// Files of tables that are kept open when there are descriptors enough, and the fewest.
const TABLE_FILES_MAX: usize = 256;
const TABLE_FILES_MIN: usize = 32;

/// A merge of files opens one of each run of the first level, at which writers halt, and one of
/// each other level, and writes one. The store's own worker and a reclaim merge at a time, and
/// buffers are written meanwhile.
const MERGE_FILES: usize = 2 * (30 + 6 + 1) + 1;
/// The store's journal and the next one, its lock, and lists and folders that are being synced.
const STORE_FILES: usize = 8;
/// The fewest segments of the log that are counted, all open.
const LOG_SEGMENTS_MIN: usize = 32;
/// The segment that is written to, and the one that is prepared to follow it.
const LOG_SEGMENTS_AHEAD: usize = 2;
/// Descriptors that more than the fewest segments leave to connections and to the runtime.
const OTHERS_MIN: usize = 256;
/// The log's folder, vote and notes, and the data-dir's lock.
const LOG_FILES: usize = 8;

/// How many files of tables the store may keep open (`StoreOptions::files_max`) where the process
/// may open `limit` descriptors.
pub fn table_files(limit: usize) -> usize {
    (limit / 8).clamp(TABLE_FILES_MIN, TABLE_FILES_MAX)
}

/// What storage holds beside the log's segments.
fn fixed(limit: usize) -> usize {
    table_files(limit) + MERGE_FILES + STORE_FILES + LOG_FILES
}

/// The segments of a log that holds `log_bytes` at most, all of them open.
fn segments_of(log_bytes: u64) -> usize {
    let full = usize::try_from(log_bytes.div_ceil(LogOptions::SEGMENT_BYTES));
    let full = full.unwrap_or(usize::MAX);
    full.saturating_add(LOG_SEGMENTS_AHEAD)
        .max(LOG_SEGMENTS_MIN)
}

/// Descriptors that storage may hold at once where the process may open `limit` and the log holds
/// `log_bytes` at most.
pub fn needed(limit: usize, log_bytes: u64) -> usize {
    let fixed = fixed(limit);
    let spare = limit.saturating_sub(fixed + OTHERS_MIN);
    fixed + segments_of(log_bytes).min(spare.max(LOG_SEGMENTS_MIN))
}

/// The limit with which a log of `log_bytes` has all the descriptors that it may need.
pub fn limit_for(log_bytes: u64) -> usize {
    (fixed(usize::MAX) + OTHERS_MIN).saturating_add(segments_of(log_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_leaves_descriptors_for_connections() {
        assert_eq!(needed(400, 0), 173);
        assert_eq!(needed(1024, 0), 251);
        assert_eq!(needed(1 << 20, 0), 379);
    }

    #[test]
    fn segments_of_large_values_are_counted_as_far_as_connections_can_spare_them() {
        // 15,000 entries of 1.5 MB.
        let log_bytes = 15_000 * 1_572_864;
        assert_eq!(segments_of(log_bytes), 354);
        assert_eq!(needed(1 << 20, log_bytes), 347 + 354);
        assert_eq!(needed(1024, log_bytes), 219 + 354);
        assert_eq!(needed(512, log_bytes), 512 - 256);
        assert_eq!(needed(400, log_bytes), 141 + 32);
        assert_eq!(needed(256, log_bytes), 123 + 32);
        let limit = limit_for(log_bytes);
        assert_eq!(needed(limit, log_bytes), fixed(limit) + 354);
    }
}
