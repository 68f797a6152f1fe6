//! How many file descriptors storage needs: what is left of the process's limit is for connections.

/// Files of tables that are kept open when there are descriptors enough, and the fewest.
const TABLE_FILES_MAX: usize = 256;
const TABLE_FILES_MIN: usize = 32;

/// A merge of files opens one of each run of the first level, at which writers halt, and one of
/// each other level, and writes one. The store's own worker and a reclaim merge at a time, and
/// buffers are written meanwhile.
const MERGE_FILES: usize = 2 * (30 + 6 + 1) + 1;
/// The store's journal and the next one, its lock, and lists and folders that are being synced.
const STORE_FILES: usize = 8;
/// The log's segments of 64 MiB, all open: 2 GiB of entries that no snapshot covers yet.
const LOG_SEGMENTS: usize = 32;
/// The log's folder, vote and notes, and the data-dir's lock.
const LOG_FILES: usize = 8;

/// How many files of tables the store may keep open (`StoreOptions::files_max`) where the process
/// may open `limit` descriptors.
pub fn table_files(limit: usize) -> usize {
    (limit / 8).clamp(TABLE_FILES_MIN, TABLE_FILES_MAX)
}

/// Descriptors that storage may hold at once where the process may open `limit`.
pub fn needed(limit: usize) -> usize {
    table_files(limit) + MERGE_FILES + STORE_FILES + LOG_SEGMENTS + LOG_FILES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_leaves_descriptors_for_connections() {
        assert_eq!(needed(400), 173);
        assert_eq!(needed(1024), 251);
        assert_eq!(needed(1 << 20), 379);
    }
}
