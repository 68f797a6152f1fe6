//! Snapshots on their way to other members defer the purge of the log.
//!
//! A member that gets the whole state needs the entries after it, too. If the log were purged past
//! them while the state travels, the member would need the next snapshot, and the next: under
//! load it might never catch up. So while a snapshot is being sent, and for a while after it, no
//! snapshot is built for the purge's sake.

use crate::api::Millis;

/// Purges deferred in a row: then the log is purged whatever travels, lest a member that never
/// gets its state to the end fills the others' disks.
const DEFERRALS_MAX: u32 = 16;

/// After a snapshot its receiver has at least this long to catch up from the log.
const CATCH_UP_MIN: Millis = Millis(5_000);

/// Whether the log may be purged.
#[derive(Debug, Default)]
pub struct PurgeDeferral {
    sending: u32,
    catching_up_until: Option<Millis>,
    deferrals: u32,
}

impl PurgeDeferral {
    /// A snapshot is being sent, until [`PurgeDeferral::end`] is called.
    pub fn begin(&mut self) {
        self.sending += 1;
    }

    /// A snapshot that began at `begun` is sent, or given up.
    pub fn end(&mut self, begun: Millis, now: Millis) {
        self.sending -= 1;
        // What was written in the time that the state took is sent in less time than that.
        let until = now + (now - begun).max(CATCH_UP_MIN);
        self.catching_up_until = self.catching_up_until.max(Some(until));
    }

    /// Whether a snapshot that could wait should be built now.
    pub fn may_purge(&mut self, now: Millis) -> bool {
        let catches_up = self.catching_up_until.is_some_and(|until| now < until);
        let defer = (self.sending > 0 || catches_up) && self.deferrals < DEFERRALS_MAX;
        self.deferrals = if defer { self.deferrals + 1 } else { 0 };
        !defer
    }
}
