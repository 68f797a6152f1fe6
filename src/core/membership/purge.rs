//! Snapshots on their way to other members defer the purge of the log.
//!
//! A member that gets the whole state needs the entries after it, too. If the log were purged past
//! them while the state travels, the member would need the next snapshot, and the next: under
//! load it might never catch up. So while a snapshot is being sent, and for a while after it, no
//! snapshot is built for the purge's sake.

use crate::api::Millis;

/// After a snapshot its receiver has at least this long to catch up from the log.
const CATCH_UP_MIN: Millis = Millis(5_000);

/// Whether the log may be purged.
#[derive(Debug)]
pub struct PurgeDeferral {
    log_bytes_min: u64,
    sending: u32,
    catching_up_until: Option<Millis>,
}

impl PurgeDeferral {
    /// `log_bytes_min`: so much log is kept, however small the state is.
    pub fn new(log_bytes_min: u64) -> PurgeDeferral {
        PurgeDeferral {
            log_bytes_min,
            sending: 0,
            catching_up_until: None,
        }
    }

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

    /// Whether a snapshot that could wait should be built now: `log_bytes` were written since the last
    /// one, and the state has `state_bytes`.
    ///
    /// A log that has grown larger than the state is no shorter way to catch up than the next state.
    /// So a member that never gets its state to the end costs the others' disks no more than that.
    pub fn may_purge(&self, now: Millis, log_bytes: u64, state_bytes: u64) -> bool {
        let catches_up = self.catching_up_until.is_some_and(|until| now < until);
        let is_needed = self.sending > 0 || catches_up;
        !is_needed || log_bytes >= state_bytes.max(self.log_bytes_min)
    }
}
