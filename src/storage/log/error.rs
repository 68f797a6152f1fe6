//! What can go wrong with the log, and what to do about it.

use super::LogOwner;
use crate::advice::{RESTORE, advice};
use std::io;

/// Why the log cannot be opened, or stopped. After an error of a write or a sync the log is
/// poisoned: every later call fails with the same error and nothing more is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("{file}: {operation} failed: {message}; {advice}")]
    Io {
        file: String,
        operation: &'static str,
        kind: io::ErrorKind,
        message: String,
        advice: &'static str,
    },
    #[error(
        "{file}: corrupt at offset {offset}: {what}; this member's log cannot be trusted: {RESTORE}"
    )]
    Corrupt {
        file: String,
        offset: u64,
        what: String,
    },
    #[error(
        "{file}: format version {found} is not known to this build, which writes version {ours}"
    )]
    Version { file: String, found: u32, ours: u32 },
    #[error(
        "{file}: this raft log is of {stored}, and not of {expected}: give each member a \
         --data-dir of its own, or restore the data-dir whole"
    )]
    Owner {
        file: String,
        stored: LogOwner,
        expected: LogOwner,
    },
    #[error("the raft log is closed")]
    Closed,
}

impl LogError {
    pub(super) fn io(file: String, operation: &'static str, error: &io::Error) -> LogError {
        LogError::Io {
            file,
            operation,
            kind: error.kind(),
            message: error.to_string(),
            advice: advice(error),
        }
    }

    pub(super) fn corrupt(file: String, offset: u64, what: impl Into<String>) -> LogError {
        LogError::Corrupt {
            file,
            offset,
            what: what.into(),
        }
    }

    /// The disk is full: the member can go on once there is room and it was restarted.
    pub fn is_full(&self) -> bool {
        matches!(
            self,
            LogError::Io {
                kind: io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::FileTooLarge,
                ..
            }
        )
    }
}
