//! This member's quota of stored bytes, beside the traffic: the store is asked for its size now and
//! then, and in between what is let in is counted on top.

use detcd_core::quota;
use std::sync::atomic::{AtomicU64, Ordering};

/// How old the size may be while there seems to be room.
const LOOK_PERIOD_MS: u64 = 100;
/// How old the size may be when there seems to be none.
const LOOK_PAUSE_MS: u64 = 10;
const NEVER: u64 = u64::MAX;

pub(crate) struct Quota {
    /// `None`: no quota.
    bytes: Option<u64>,
    /// The store's size when it was looked at, and what was let in since.
    size: AtomicU64,
    looked_at_ms: AtomicU64,
}

impl Quota {
    pub fn new(bytes: Option<u64>) -> Quota {
        Quota {
            bytes,
            size: AtomicU64::new(0),
            looked_at_ms: AtomicU64::new(NEVER),
        }
    }

    /// Whether there is room for `growth` more bytes, which are then counted.
    pub fn admit(&self, now_ms: u64, growth: u64, size: impl Fn() -> u64) -> bool {
        let Some(quota) = self.bytes else {
            return true;
        };
        let has_room = || quota::has_room(quota, self.size.load(Ordering::Relaxed), growth);
        self.look(now_ms, LOOK_PERIOD_MS, &size);
        let admitted = has_room() || {
            // What is written is often less than what was counted.
            self.look(now_ms, LOOK_PAUSE_MS, &size);
            has_room()
        };
        if admitted {
            self.size.fetch_add(growth, Ordering::Relaxed);
        }
        admitted
    }

    /// Whether the store has just been found to be full. Says so once for each look at it.
    pub fn found_full(&self, now_ms: u64, size: impl Fn() -> u64) -> bool {
        let Some(quota) = self.bytes else {
            return false;
        };
        self.look(now_ms, LOOK_PERIOD_MS, &size)
            && !quota::has_room(quota, self.size.load(Ordering::Relaxed), 1)
    }

    /// Whether so little room is left that what is not needed should be given back.
    pub fn is_scarce(&self, size: u64) -> bool {
        self.bytes.is_some_and(|quota| size >= quota / 8 * 7)
    }

    /// Asks for the size if what is known of it is older than `age_max_ms`.
    fn look(&self, now_ms: u64, age_max_ms: u64, size: impl Fn() -> u64) -> bool {
        let looked_at = self.looked_at_ms.load(Ordering::Relaxed);
        let is_old = looked_at == NEVER || now_ms >= looked_at.saturating_add(age_max_ms);
        // Of those who come at the same time one is enough.
        let looks = is_old
            && self
                .looked_at_ms
                .compare_exchange(looked_at, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if looks {
            self.size.store(size(), Ordering::Relaxed);
        }
        looks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn what_was_let_in_counts_until_the_next_look() {
        let (quota, looks) = (Quota::new(Some(100)), Cell::new(0));
        let size = |bytes: u64| {
            let looks = &looks;
            move || {
                looks.set(looks.get() + 1);
                bytes
            }
        };
        assert!(quota.admit(0, 40, size(10)));
        assert!(quota.admit(1, 40, size(10)));
        assert_eq!(looks.get(), 1);
        assert!(
            !quota.admit(2, 40, size(10)),
            "90 are known and 40 too many"
        );
        assert!(
            quota.admit(LOOK_PAUSE_MS, 40, size(30)),
            "a new look finds room"
        );
        assert_eq!(looks.get(), 2);
        assert!(
            quota.admit(LOOK_PAUSE_MS, 0, size(0)),
            "nothing added is nothing refused"
        );
    }

    #[test]
    fn a_full_store_is_found_once_a_look() {
        let quota = Quota::new(Some(100));
        assert!(quota.found_full(0, || 100));
        assert!(!quota.found_full(1, || 100));
        assert!(quota.found_full(LOOK_PERIOD_MS, || 100));
        assert!(!quota.found_full(2 * LOOK_PERIOD_MS, || 98));
        assert!(!Quota::new(None).found_full(0, || u64::MAX));
    }
}
