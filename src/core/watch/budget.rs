//! How much the hub may do before others are served again.

/// Work of a hub: a visit to a watcher is one, and so is each event that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    granted: u64,
    left: u64,
}

impl Budget {
    /// For whoever serves nobody else meanwhile.
    pub const UNLIMITED: Budget = Budget::new(u64::MAX);

    pub const fn new(work: u64) -> Budget {
        Budget {
            granted: work,
            left: work,
        }
    }

    pub fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Synced and unsynced watchers get half each: neither waits until the others are
    /// through.
    pub(super) fn is_for_unsynced(&self) -> bool {
        self.left < self.granted / 2
    }

    /// The last piece of work may be larger than what is left.
    pub(crate) fn spend(&mut self, work: u64) {
        self.left = self.left.saturating_sub(work);
    }
}
