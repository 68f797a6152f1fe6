//! Snapshots on their way out hold back the purge of the log.
//!
//! A member that gets the whole state needs the entries after it, too. If the log were purged past
//! them while the state travels, the member would need the next snapshot, and the next: under
//! load it might never catch up. So while a transfer runs, and for a while after it, no snapshot
//! is built for the purge's sake.

use detcd_rt::Instant;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Snapshots held back in a row: then the log is purged whatever travels, lest a member that never
/// gets its state to the end fills the others' disks.
const DEFERRALS_MAX: u32 = 16;

/// After a transfer its receiver has at least this long to catch up from the log.
const QUIET_MIN: Duration = Duration::from_secs(5);

#[derive(Clone, Default)]
pub(crate) struct Transfers(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    running: u32,
    quiet_until: Option<Instant>,
    deferrals: u32,
}

impl Transfers {
    /// A transfer has begun; it ends when the guard is dropped.
    pub(crate) fn begin(&self) -> Transfer {
        self.state().running += 1;
        Transfer {
            transfers: self.clone(),
            begun: Instant::now(),
        }
    }

    /// Whether a snapshot that could wait should be built now.
    pub(crate) fn may_build(&self) -> bool {
        let mut state = self.state();
        let quiet = state
            .quiet_until
            .is_some_and(|until| Instant::now() < until);
        let defer = (state.running > 0 || quiet) && state.deferrals < DEFERRALS_MAX;
        state.deferrals = if defer { state.deferrals + 1 } else { 0 };
        !defer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0
            .lock()
            .expect("nothing panics while it holds the state of transfers")
    }
}

pub(crate) struct Transfer {
    transfers: Transfers,
    begun: Instant,
}

impl Drop for Transfer {
    fn drop(&mut self) {
        // What was written in the time that the state took is sent in less time than that.
        let until = Instant::now() + self.begun.elapsed().max(QUIET_MIN);
        let mut state = self.transfers.state();
        state.running -= 1;
        state.quiet_until = state.quiet_until.max(Some(until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_holds_snapshots_back_but_not_for_ever() {
        let transfers = Transfers::default();
        assert!(transfers.may_build());
        let transfer = transfers.begin();
        assert!(!transfers.may_build());
        drop(transfer);
        for _ in 1..DEFERRALS_MAX {
            assert!(!transfers.may_build(), "its receiver has not caught up yet");
        }
        assert!(transfers.may_build());
        assert!(!transfers.may_build());
    }
}
