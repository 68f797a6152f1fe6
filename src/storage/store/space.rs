//! When giving back the space of removed rows is worth its work.

const MIB: u64 = 1024 * 1024;
/// Less than this many bytes of removed rows are not worth a file.
const BYTES_MIN: u64 = MIB;
/// Walking over fewer removed rows than this is not felt.
const ROWS_MIN: u64 = 1_000;
/// What is written over lies in several files; a table with less outside of its last level than
/// this is not worth a merge.
const WRITTEN_OVER_MIN: u64 = 4 * MIB;
/// Up to this size a table is merged once a sixteenth of it was removed, beyond it an eighth.
const LARGE_BYTES: u64 = 1024 * MIB;

/// What a table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Bytes in files.
    pub file_bytes: u64,
    /// The part of them that is not in the last level: it may hide rows of the last level, and
    /// holds the marks of removed ones.
    pub upper_bytes: u64,
    /// Bytes in memory.
    pub buffer_bytes: u64,
    /// Rows, removed ones and the marks that remove them among them.
    pub rows: u64,
    pub removed_rows: u64,
    pub removed_bytes: u64,
    /// Whether rows are written over, which nobody counts.
    pub is_written_over: bool,
}

impl Held {
    pub fn bytes(&self) -> u64 {
        self.file_bytes + self.buffer_bytes
    }

    pub fn in_use_bytes(&self) -> u64 {
        self.bytes().saturating_sub(self.removed_bytes)
    }

    /// Whether so much can be given back that writing the rest again is in proportion to it.
    pub fn is_worth_merging(&self) -> bool {
        let share = match self.bytes() <= LARGE_BYTES {
            true => 16,
            false => 8,
        };
        self.removed_bytes >= BYTES_MIN.max(self.bytes() / share)
            || self.removed_rows >= ROWS_MIN.max(self.rows / share)
            || (self.is_written_over
                && self.upper_bytes + self.buffer_bytes >= WRITTEN_OVER_MIN.max(self.bytes() / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_merged_when_a_share_of_it_was_removed() {
        let held = Held {
            file_bytes: 60 * MIB,
            rows: 80_000,
            ..Held::default()
        };
        assert!(!held.is_worth_merging());
        let removed = |removed_rows, removed_bytes| Held {
            removed_rows,
            removed_bytes,
            ..held
        };
        assert!(removed(30_000, 0).is_worth_merging());
        assert!(removed(60, 4 * MIB).is_worth_merging(), "few large rows");
        assert!(!removed(999, 100_000).is_worth_merging());
        let large = Held {
            file_bytes: 10 * 1024 * MIB,
            rows: 2_000_000,
            ..removed(30_000, 150 * MIB)
        };
        assert!(!large.is_worth_merging(), "ten gigabytes for a few rows");
        let half = Held {
            removed_rows: 1_000_000,
            ..large
        };
        assert!(half.is_worth_merging());
    }

    #[test]
    fn what_is_written_over_counts_where_it_can_be() {
        let held = Held {
            file_bytes: 8 * MIB,
            upper_bytes: 2 * MIB,
            buffer_bytes: 12 * MIB,
            rows: 10_000,
            ..Held::default()
        };
        assert!(!held.is_worth_merging(), "rows that are only added");
        let over = Held {
            is_written_over: true,
            ..held
        };
        assert!(over.is_worth_merging());
        let little = Held {
            buffer_bytes: MIB,
            upper_bytes: 0,
            ..over
        };
        assert!(!little.is_worth_merging());
    }
}
