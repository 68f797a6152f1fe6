//! What the store may take, and how each table is kept.

use ::fjall::KeyspaceCreateOptions;
use ::fjall::config::{BlockSizePolicy, PinningPolicy};
use detcd_core::view::Table;

/// What the store may take.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Blocks of the files that are kept in memory.
    pub cache_bytes: u64,
    /// Writes of one of the big tables that are kept in memory before they are put into a file.
    pub write_buffer_bytes: u64,
    /// Length of the journal that is read again when the store is opened.
    pub journal_bytes: u64,
    /// Files kept open.
    pub files_max: usize,
    /// Threads that write files and merge them.
    pub workers: usize,
    /// Up to this size a table is merged in one go to give back space, which keeps fjall's own
    /// merges of it waiting; a larger one is merged level by level.
    pub merge_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            cache_bytes: 48 * 1024 * 1024,
            write_buffer_bytes: 16 * 1024 * 1024,
            journal_bytes: 64 * 1024 * 1024,
            files_max: 256,
            // fjall 3.1 keeps the first of several workers for files to be written: while another
            // merges, it spins, handing itself the same message. One worker does both in turn.
            workers: 1,
            merge_bytes: 256 * 1024 * 1024,
        }
    }
}

/// How a table is kept. The three big ones share most of the memory; the single rows of the small
/// ones are overwritten all the time, so their buffers are small.
pub(super) fn table_options(table: Option<Table>, options: &StoreOptions) -> KeyspaceCreateOptions {
    let big = options.write_buffer_bytes;
    let buffer = match table {
        Some(Table::Current | Table::Events) => big,
        Some(Table::Versions | Table::V2) => big / 2,
        Some(Table::Lease | Table::LeaseKeys) => big / 4,
        Some(Table::Meta | Table::Member | Table::Alarm | Table::User | Table::Role) | None => {
            big / 8
        }
    };
    KeyspaceCreateOptions::default()
        .max_memtable_size(buffer)
        .data_block_size_policy(BlockSizePolicy::all(4 * 1024))
        // Indexes and filters live in the cache like everything else: memory is what the options
        // say, whatever the size of the state.
        .index_block_pinning_policy(PinningPolicy::all(false))
        .filter_block_pinning_policy(PinningPolicy::all(false))
        .index_block_partitioning_policy(PinningPolicy::all(true))
        .filter_block_partitioning_policy(PinningPolicy::all(true))
        // Events are looked up by revisions that exist.
        .expect_point_read_hits(table == Some(Table::Events))
}
